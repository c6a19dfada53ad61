import java.io.InputStream;
import java.io.OutputStream;
import java.security.GeneralSecurityException;
import java.security.Key;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.cert.X509Certificate;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import org.bouncycastle.asn1.ASN1EncodableVector;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.DERSet;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.cms.CMSAttributes;
import org.bouncycastle.asn1.cms.CMSObjectIdentifiers;
import org.bouncycastle.asn1.cms.GCMParameters;
import org.bouncycastle.asn1.cms.Time;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.asn1.x509.SubjectKeyIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateHolder;
import org.bouncycastle.cms.CMSAlgorithm;
import org.bouncycastle.cms.CMSAuthEnvelopedData;
import org.bouncycastle.cms.CMSAuthEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSException;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.KeyAgreeRecipientId;
import org.bouncycastle.cms.KeyAgreeRecipientInformation;
import org.bouncycastle.cms.RecipientId;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.RecipientOperator;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.SimpleAttributeTableGenerator;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.cms.jcajce.JceCMSContentEncryptorBuilder;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipient;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipientInfoGenerator;
import org.bouncycastle.jcajce.io.CipherInputStream;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.InputAEADDecryptor;
import org.bouncycastle.operator.OutputAEADEncryptor;

/** Seals and opens by BouncyCastle's own CMS classes, as a program of somebody else's would. */
final class Stock {
  /** What came out, and the key that the message says made it. */
  record Opened(byte[] content, byte[] originatorPoint) {}

  /** Not by name, because looking a provider up takes time in every call. */
  private static final Provider PROVIDER = new BouncyCastleProvider();
  private static final Map<String, ASN1ObjectIdentifier> AGREEMENTS = Map.of(
      "sha1", CMSAlgorithm.ECMQV_SHA1KDF,
      "sha256", CMSAlgorithm.ECMQV_SHA256KDF,
      "sha384", CMSAlgorithm.ECMQV_SHA384KDF,
      "sha512", CMSAlgorithm.ECMQV_SHA512KDF);
  private static final Map<Integer, ASN1ObjectIdentifier> WRAPS = Map.of(
      16, CMSAlgorithm.AES128_WRAP, 24, CMSAlgorithm.AES192_WRAP, 32, CMSAlgorithm.AES256_WRAP);
  private static final Map<Integer, ASN1ObjectIdentifier> CIPHERS = Map.of(
      16, CMSAlgorithm.AES128_GCM, 24, CMSAlgorithm.AES192_GCM, 32, CMSAlgorithm.AES256_GCM);

  private Stock() {}

  /** A bare AuthEnvelopedData with a signing time: BouncyCastle names the originator by its key alone. */
  static byte[] seal(
      String hash,
      int keyBytes,
      PrivateKey originatorKey,
      X509Certificate originator,
      List<X509Certificate> recipients,
      byte[] content)
      throws Exception {
    JceKeyAgreeRecipientInfoGenerator infos =
        new JceKeyAgreeRecipientInfoGenerator(
                AGREEMENTS.get(hash), originatorKey, originator.getPublicKey(), WRAPS.get(keyBytes))
            .setProvider(PROVIDER);
    for (X509Certificate recipient : recipients) infos.addRecipient(recipient);
    CMSAuthEnvelopedDataGenerator generator = new CMSAuthEnvelopedDataGenerator();
    generator.addRecipientInfoGenerator(infos);
    ASN1EncodableVector attributes = new ASN1EncodableVector();
    attributes.add(new Attribute(CMSAttributes.contentType, new DERSet(CMSObjectIdentifiers.data)));
    attributes.add(new Attribute(CMSAttributes.signingTime, new DERSet(new Time(new Date()))));
    generator.setAuthenticatedAttributeGenerator(
        new SimpleAttributeTableGenerator(new AttributeTable(attributes)));
    OutputAEADEncryptor cipher =
        (OutputAEADEncryptor)
            new JceCMSContentEncryptorBuilder(CIPHERS.get(keyBytes)).setProvider(PROVIDER).build();
    return generator.generate(new CMSProcessableByteArray(content), cipher).getEncoded();
  }

  /** A recipient and what it may be called, made once for all that it opens. */
  static final class Reader {
    private final PrivateKey key;
    private final Set<RecipientId> names;

    Reader(PrivateKey key, X509Certificate certificate) throws Exception {
      this.key = key;
      X509CertificateHolder holder = new JcaX509CertificateHolder(certificate);
      names = Set.of(
          new KeyAgreeRecipientId(keyIdentifier(certificate)),
          new KeyAgreeRecipientId(holder.getIssuer(), holder.getSerialNumber()));
    }
  }

  static Opened open(byte[] envelope, Reader reader) throws Exception {
    CMSAuthEnvelopedData data = new CMSAuthEnvelopedData(envelope);
    for (RecipientInformation info : data.getRecipientInfos()) {
      if (!reader.names.contains(info.getRID())) continue;
      byte[] content = info.getContent(new AuthEnvelopedRecipient(reader.key).setProvider(PROVIDER));
      KeyAgreeRecipientInformation agreement = (KeyAgreeRecipientInformation) info;
      return new Opened(content, agreement.getOriginator().getOriginatorKey().getPublicKey().getBytes());
    }
    throw new CMSException("not a recipient");
  }

  /** @return the signed content, that is, an AuthEnvelopedData */
  static byte[] verify(byte[] envelope, X509Certificate signer) throws Exception {
    CMSSignedData data = new CMSSignedData(envelope);
    for (SignerInformation info : data.getSignerInfos().getSigners()) {
      if (!info.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider(PROVIDER).build(signer))) {
        throw new CMSException("the signature does not verify");
      }
    }
    if (data.getSignerInfos().size() == 0) throw new CMSException("no signer");
    return (byte[]) data.getSignedContent().getContent();
  }

  static byte[] keyIdentifier(X509Certificate certificate) {
    byte[] extension = certificate.getExtensionValue(Extension.subjectKeyIdentifier.getId());
    return SubjectKeyIdentifier.getInstance(ASN1OctetString.getInstance(extension).getOctets())
        .getKeyIdentifier();
  }

  /**
   * BouncyCastle 1.72 has a recipient for AuthEnvelopedData by key transport, but none by key agreement: its
   * JceKeyAgreeEnvelopedRecipient takes no additional data, so that a message with attributes ends in a
   * ClassCastException. This is what it has for key transport, over its own key agreement.
   */
  private static final class AuthEnvelopedRecipient extends JceKeyAgreeRecipient {
    AuthEnvelopedRecipient(PrivateKey key) {
      super(key);
    }

    @Override
    public RecipientOperator getRecipientOperator(
        AlgorithmIdentifier keyEncryption,
        AlgorithmIdentifier contentEncryption,
        SubjectPublicKeyInfo sender,
        ASN1OctetString material,
        byte[] encryptedKey)
        throws CMSException {
      Key key = extractSecretKey(keyEncryption, contentEncryption, sender, material, encryptedKey);
      return new RecipientOperator(new GcmDecryptor(contentEncryption, key));
    }
  }

  private static final class GcmDecryptor implements InputAEADDecryptor {
    private final AlgorithmIdentifier algorithm;
    private final Cipher cipher;

    GcmDecryptor(AlgorithmIdentifier algorithm, Key key) throws CMSException {
      this.algorithm = algorithm;
      GCMParameters parameters = GCMParameters.getInstance(algorithm.getParameters());
      try {
        cipher = Cipher.getInstance("AES/GCM/NoPadding", PROVIDER);
        cipher.init(
            Cipher.DECRYPT_MODE,
            key,
            new GCMParameterSpec(8 * parameters.getIcvLen(), parameters.getNonce()));
      } catch (GeneralSecurityException cause) {
        throw new CMSException("cannot decrypt", cause);
      }
    }

    @Override
    public AlgorithmIdentifier getAlgorithmIdentifier() {
      return algorithm;
    }

    /** BouncyCastle's stream, which throws where the tag differs; Java's own swallows that. */
    @Override
    public InputStream getInputStream(InputStream encrypted) {
      return new CipherInputStream(encrypted, cipher);
    }

    @Override
    public OutputStream getAADStream() {
      return new OutputStream() {
        @Override
        public void write(int octet) {
          cipher.updateAAD(new byte[] {(byte) octet});
        }

        @Override
        public void write(byte[] octets, int offset, int length) {
          cipher.updateAAD(octets, offset, length);
        }
      };
    }

    @Override
    public byte[] getMAC() {
      return new byte[0];
    }
  }
}
