import java.math.BigInteger;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.Date;
import java.util.List;
import java.util.Map;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1EncodableVector;
import org.bouncycastle.asn1.ASN1Encoding;
import org.bouncycastle.asn1.ASN1Integer;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.DEROctetString;
import org.bouncycastle.asn1.DERSequence;
import org.bouncycastle.asn1.DERSet;
import org.bouncycastle.asn1.DERUTF8String;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.cms.AuthEnvelopedData;
import org.bouncycastle.asn1.cms.CMSAttributes;
import org.bouncycastle.asn1.cms.CMSObjectIdentifiers;
import org.bouncycastle.asn1.cms.EncryptedContentInfo;
import org.bouncycastle.asn1.cms.GCMParameters;
import org.bouncycastle.asn1.cms.KeyAgreeRecipientIdentifier;
import org.bouncycastle.asn1.cms.KeyAgreeRecipientInfo;
import org.bouncycastle.asn1.cms.OriginatorIdentifierOrKey;
import org.bouncycastle.asn1.cms.OriginatorPublicKey;
import org.bouncycastle.asn1.cms.RecipientEncryptedKey;
import org.bouncycastle.asn1.cms.RecipientInfo;
import org.bouncycastle.asn1.cms.RecipientKeyIdentifier;
import org.bouncycastle.asn1.cms.Time;
import org.bouncycastle.asn1.cms.ecc.MQVuserKeyingMaterial;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.asn1.sec.SECObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.SubjectKeyIdentifier;
import org.bouncycastle.asn1.x9.X9ObjectIdentifiers;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoGeneratorBuilder;
import org.bouncycastle.crypto.AsymmetricCipherKeyPair;
import org.bouncycastle.crypto.agreement.ECMQVBasicAgreement;
import org.bouncycastle.crypto.engines.AESEngine;
import org.bouncycastle.crypto.engines.AESWrapEngine;
import org.bouncycastle.crypto.generators.ECKeyPairGenerator;
import org.bouncycastle.crypto.modes.GCMBlockCipher;
import org.bouncycastle.crypto.params.AEADParameters;
import org.bouncycastle.crypto.params.ECKeyGenerationParameters;
import org.bouncycastle.crypto.params.ECPrivateKeyParameters;
import org.bouncycastle.crypto.params.ECPublicKeyParameters;
import org.bouncycastle.crypto.params.KeyParameter;
import org.bouncycastle.crypto.params.MQVPrivateParameters;
import org.bouncycastle.crypto.params.MQVPublicParameters;
import org.bouncycastle.crypto.util.PrivateKeyFactory;
import org.bouncycastle.util.BigIntegers;

/**
 * A sender of our envelopes that is not ours, written after docs/wire.md. The signature around is made by BouncyCastle's
 * own classes, which name the signer by issuer and serial number and write BER.
 */
final class StrictSender {
  private static final Map<String, ASN1ObjectIdentifier> AGREEMENTS = Map.of(
      "sha256", SECObjectIdentifiers.mqvSinglePass_sha256kdf_scheme,
      "sha384", SECObjectIdentifiers.mqvSinglePass_sha384kdf_scheme,
      "sha512", SECObjectIdentifiers.mqvSinglePass_sha512kdf_scheme);
  private static final AlgorithmIdentifier WRAP =
      new AlgorithmIdentifier(NISTObjectIdentifiers.id_aes256_wrap);
  private static final SecureRandom RANDOM = new SecureRandom();

  /** Keys and certificates of the one who sends. */
  record Originator(
      PrivateKey key, X509Certificate certificate, PrivateKey signatureKey, X509Certificate signer) {}

  private StrictSender() {}

  static byte[] seal(
      String hash,
      Originator originator,
      List<X509Certificate> recipients,
      String topic,
      long sequence,
      byte[] content)
      throws Exception {
    byte[] enveloped = envelop(hash, originator, recipients, topic, sequence, content);
    CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
    generator.addSignerInfoGenerator(
        new JcaSimpleSignerInfoGeneratorBuilder()
            .setProvider("BC")
            .build(hash.toUpperCase() + "withECDSA", originator.signatureKey(), originator.signer()));
    CMSProcessableByteArray signed =
        new CMSProcessableByteArray(CMSObjectIdentifiers.authEnvelopedData, enveloped);
    return generator.generate(signed, true).getEncoded();
  }

  private static byte[] envelop(
      String hash,
      Originator originator,
      List<X509Certificate> recipients,
      String topic,
      long sequence,
      byte[] content)
      throws Exception {
    byte[] contentKey = random(32);
    byte[] nonce = random(12);
    DERSet attributes = new DERSet(new Attribute[] {
      attribute(CMSAttributes.contentType, CMSObjectIdentifiers.data),
      attribute(CMSAttributes.signingTime, new Time(new Date())),
      attribute(Strict.ENVELOPE_INFO, new DERSequence(new ASN1Encodable[] {
        new ASN1Integer(1),
        new DERUTF8String(topic),
        new ASN1Integer(sequence),
        octets(MessageDigest.getInstance("SHA-256").digest(originator.certificate().getEncoded())),
        new ASN1Integer(0), // octets
        new ASN1Integer(0), // identity
        octets(Strict.commitment(contentKey, nonce))
      }))
    });
    GCMBlockCipher gcm = new GCMBlockCipher(new AESEngine());
    gcm.init(
        true,
        new AEADParameters(
            new KeyParameter(contentKey), 128, nonce, attributes.getEncoded(ASN1Encoding.DER)));
    byte[] sealed = new byte[gcm.getOutputSize(content.length)];
    gcm.doFinal(sealed, gcm.processBytes(content, 0, content.length, sealed, 0));
    AlgorithmIdentifier cipher =
        new AlgorithmIdentifier(NISTObjectIdentifiers.id_aes256_GCM, new GCMParameters(nonce, 16));
    EncryptedContentInfo info =
        new EncryptedContentInfo(
            CMSObjectIdentifiers.data, cipher, octets(Arrays.copyOf(sealed, content.length)));
    ASN1OctetString tag = octets(Arrays.copyOfRange(sealed, content.length, sealed.length));
    DERSet infos =
        new DERSet(new RecipientInfo(keyAgreement(hash, originator, recipients, contentKey)));
    return new AuthEnvelopedData(null, infos, info, attributes, tag, null)
        .getEncoded(ASN1Encoding.DER);
  }

  /** One ephemeral key for all recipients; each stands with its static key for its ephemeral one too. */
  private static KeyAgreeRecipientInfo keyAgreement(
      String hash, Originator originator, List<X509Certificate> recipients, byte[] contentKey)
      throws Exception {
    ECPrivateKeyParameters own =
        (ECPrivateKeyParameters) PrivateKeyFactory.createKey(originator.key().getEncoded());
    ECKeyPairGenerator pairs = new ECKeyPairGenerator();
    pairs.init(new ECKeyGenerationParameters(own.getParameters(), RANDOM));
    AsymmetricCipherKeyPair ephemeral = pairs.generateKeyPair();
    ECPublicKeyParameters ephemeralPublic = (ECPublicKeyParameters) ephemeral.getPublic();
    ECMQVBasicAgreement agreement = new ECMQVBasicAgreement();
    agreement.init(
        new MQVPrivateParameters(
            own, (ECPrivateKeyParameters) ephemeral.getPrivate(), ephemeralPublic));

    ASN1EncodableVector keys = new ASN1EncodableVector();
    for (X509Certificate recipient : recipients) {
      ECPublicKeyParameters point = Strict.publicKey(recipient);
      BigInteger secret = agreement.calculateAgreement(new MQVPublicParameters(point, point));
      byte[] secretOctets = BigIntegers.asUnsignedByteArray(agreement.getFieldSize(), secret);
      AESWrapEngine wrap = new AESWrapEngine();
      wrap.init(true, new KeyParameter(Strict.keyEncryptionKey(AGREEMENTS.get(hash), WRAP, secretOctets)));
      keys.add(
          new RecipientEncryptedKey(
              new KeyAgreeRecipientIdentifier(
                  new RecipientKeyIdentifier(Stock.keyIdentifier(recipient))),
              octets(wrap.wrap(contentKey, 0, contentKey.length))));
    }
    AlgorithmIdentifier curveOfRecipient = new AlgorithmIdentifier(X9ObjectIdentifiers.id_ecPublicKey);
    MQVuserKeyingMaterial material =
        new MQVuserKeyingMaterial(
            new OriginatorPublicKey(curveOfRecipient, ephemeralPublic.getQ().getEncoded(false)), null);
    SubjectKeyIdentifier name =
        new SubjectKeyIdentifier(Stock.keyIdentifier(originator.certificate()));
    return new KeyAgreeRecipientInfo(
        new OriginatorIdentifierOrKey(name),
        octets(material.getEncoded(ASN1Encoding.DER)),
        new AlgorithmIdentifier(AGREEMENTS.get(hash), WRAP),
        new DERSequence(keys));
  }

  private static Attribute attribute(ASN1ObjectIdentifier type, ASN1Encodable value) {
    return new Attribute(type, new DERSet(value));
  }

  private static ASN1OctetString octets(byte[] octets) {
    return new DEROctetString(octets);
  }

  private static byte[] random(int bytes) {
    byte[] octets = new byte[bytes];
    RANDOM.nextBytes(octets);
    return octets;
  }
}
