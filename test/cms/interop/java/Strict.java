import java.io.ByteArrayOutputStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.Map;
import java.util.zip.Inflater;
import java.util.zip.InflaterOutputStream;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1Encoding;
import org.bouncycastle.asn1.ASN1Integer;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.ASN1Primitive;
import org.bouncycastle.asn1.ASN1Sequence;
import org.bouncycastle.asn1.ASN1Set;
import org.bouncycastle.asn1.ASN1TaggedObject;
import org.bouncycastle.asn1.ASN1UTF8String;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.cms.AuthEnvelopedData;
import org.bouncycastle.asn1.cms.CMSAttributes;
import org.bouncycastle.asn1.cms.CMSObjectIdentifiers;
import org.bouncycastle.asn1.cms.ContentInfo;
import org.bouncycastle.asn1.cms.GCMParameters;
import org.bouncycastle.asn1.cms.KeyAgreeRecipientInfo;
import org.bouncycastle.asn1.cms.RecipientEncryptedKey;
import org.bouncycastle.asn1.cms.RecipientInfo;
import org.bouncycastle.asn1.cms.SignedData;
import org.bouncycastle.asn1.cms.SignerInfo;
import org.bouncycastle.asn1.cms.ecc.ECCCMSSharedInfo;
import org.bouncycastle.asn1.cms.ecc.MQVuserKeyingMaterial;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.asn1.sec.SECObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.crypto.Digest;
import org.bouncycastle.crypto.agreement.ECMQVBasicAgreement;
import org.bouncycastle.crypto.digests.SHA256Digest;
import org.bouncycastle.crypto.digests.SHA384Digest;
import org.bouncycastle.crypto.digests.SHA512Digest;
import org.bouncycastle.crypto.engines.AESEngine;
import org.bouncycastle.crypto.engines.AESWrapEngine;
import org.bouncycastle.crypto.generators.HKDFBytesGenerator;
import org.bouncycastle.crypto.generators.KDF2BytesGenerator;
import org.bouncycastle.crypto.modes.GCMBlockCipher;
import org.bouncycastle.crypto.params.AEADParameters;
import org.bouncycastle.crypto.params.ECPrivateKeyParameters;
import org.bouncycastle.crypto.params.ECPublicKeyParameters;
import org.bouncycastle.crypto.params.HKDFParameters;
import org.bouncycastle.crypto.params.KDFParameters;
import org.bouncycastle.crypto.params.KeyParameter;
import org.bouncycastle.crypto.params.MQVPrivateParameters;
import org.bouncycastle.crypto.params.MQVPublicParameters;
import org.bouncycastle.crypto.util.PrivateKeyFactory;
import org.bouncycastle.crypto.util.PublicKeyFactory;
import org.bouncycastle.util.BigIntegers;

/**
 * A receiver of our envelopes that is not ours, written after docs/wire.md: signature, one-pass ECMQV with RFC 5753's
 * SharedInfo, key commitment, associated data. The ASN.1 and the primitives are BouncyCastle's.
 */
final class Strict {
  record Opened(byte[] content, String topic, BigInteger sequence) {}

  static final ASN1ObjectIdentifier ENVELOPE_INFO =
      new ASN1ObjectIdentifier("2.25.116409210384605535630202861310983720912");
  private static final Map<ASN1ObjectIdentifier, String> HASHES = Map.of(
      NISTObjectIdentifiers.id_sha256, "SHA-256",
      NISTObjectIdentifiers.id_sha384, "SHA-384",
      NISTObjectIdentifiers.id_sha512, "SHA-512");
  private static final Map<ASN1ObjectIdentifier, Integer> WRAPS = Map.of(
      NISTObjectIdentifiers.id_aes128_wrap, 16,
      NISTObjectIdentifiers.id_aes192_wrap, 24,
      NISTObjectIdentifiers.id_aes256_wrap, 32);
  private static final Map<ASN1ObjectIdentifier, Integer> CIPHERS = Map.of(
      NISTObjectIdentifiers.id_aes128_GCM, 16,
      NISTObjectIdentifiers.id_aes192_GCM, 24,
      NISTObjectIdentifiers.id_aes256_GCM, 32);

  private Strict() {}

  /**
   * @param signer the originator's SIG certificate
   * @param originator its ENC certificate
   */
  static Opened open(
      byte[] envelope,
      PrivateKey key,
      X509Certificate recipient,
      X509Certificate signer,
      X509Certificate originator)
      throws Exception {
    ASN1Primitive whole = ASN1Primitive.fromByteArray(envelope);
    require(Arrays.equals(whole.getEncoded(ASN1Encoding.DER), envelope), "the envelope is not DER");
    ContentInfo outer = ContentInfo.getInstance(whole);
    require(outer.getContentType().equals(CMSObjectIdentifiers.signedData), "not SignedData");
    byte[] encoded = verified(SignedData.getInstance(outer.getContent()), signer);
    ASN1Primitive inner = ASN1Primitive.fromByteArray(encoded);
    require(Arrays.equals(inner.getEncoded(ASN1Encoding.DER), encoded), "the content is not DER");
    return decrypted(AuthEnvelopedData.getInstance(inner), key, recipient, originator);
  }

  /** RFC 5652 §5.4, §5.6: the signature is over the attributes, which hold the digest of the content. */
  private static byte[] verified(SignedData data, X509Certificate signer) throws Exception {
    require(data.getVersion().intValueExact() == 3, "SignedData: version");
    ASN1ObjectIdentifier type = data.getEncapContentInfo().getContentType();
    require(type.equals(CMSObjectIdentifiers.authEnvelopedData), "SignedData: content type");
    byte[] content = octets(data.getEncapContentInfo().getContent());
    require(data.getSignerInfos().size() == 1, "SignedData: one signer");
    SignerInfo info = SignerInfo.getInstance(data.getSignerInfos().getObjectAt(0));
    require(Arrays.equals(octets(info.getSID().getId()), Stock.keyIdentifier(signer)), "signer");
    String hash = HASHES.get(info.getDigestAlgorithm().getAlgorithm());
    AttributeTable attributes = new AttributeTable(info.getAuthenticatedAttributes());
    require(type.equals(value(attributes, CMSAttributes.contentType)), "signed content type");
    byte[] digest = octets(value(attributes, CMSAttributes.messageDigest));
    require(Arrays.equals(digest, MessageDigest.getInstance(hash).digest(content)), "digest");
    Signature signature = Signature.getInstance(hash.replace("-", "") + "withECDSA", "BC");
    signature.initVerify(signer.getPublicKey());
    signature.update(info.getAuthenticatedAttributes().getEncoded(ASN1Encoding.DER));
    require(signature.verify(info.getEncryptedDigest().getOctets()), "signature");
    return content;
  }

  private static Opened decrypted(
      AuthEnvelopedData data, PrivateKey key, X509Certificate recipient, X509Certificate originator)
      throws Exception {
    require(data.getVersion().intValueExact() == 0, "AuthEnvelopedData: version");
    AlgorithmIdentifier cipher = data.getAuthEncryptedContentInfo().getContentEncryptionAlgorithm();
    GCMParameters parameters = GCMParameters.getInstance(cipher.getParameters());
    require(parameters.getIcvLen() == 16 && parameters.getNonce().length == 12, "GCM parameters");
    byte[] contentKey = contentKey(data.getRecipientInfos(), key, recipient, originator);
    require(contentKey.length == CIPHERS.get(cipher.getAlgorithm()), "length of the content key");

    ASN1Set attributes = data.getAuthAttrs();
    ASN1Sequence info = ASN1Sequence.getInstance(value(new AttributeTable(attributes), ENVELOPE_INFO));
    boolean hasPrevious = info.getObjectAt(3) instanceof ASN1TaggedObject;
    require(info.size() == (hasPrevious ? 8 : 7), "EnvelopeInfo: fields");
    int rest = hasPrevious ? 4 : 3;
    require(contains(octets(info.getObjectAt(rest)), originator), "originator hash");
    byte[] commitment = commitment(contentKey, parameters.getNonce());
    require(Arrays.equals(octets(info.getObjectAt(rest + 3)), commitment), "key commitment");

    byte[] sealed = octets(data.getAuthEncryptedContentInfo().getEncryptedContent());
    GCMBlockCipher gcm = new GCMBlockCipher(new AESEngine());
    byte[] associated = attributes.getEncoded(ASN1Encoding.DER);
    gcm.init(
        false, new AEADParameters(new KeyParameter(contentKey), 128, parameters.getNonce(), associated));
    byte[] input = ByteBuffer.allocate(sealed.length + 16).put(sealed).put(octets(data.getMac())).array();
    byte[] content = new byte[gcm.getOutputSize(input.length)];
    gcm.doFinal(content, gcm.processBytes(input, 0, input.length, content, 0));
    boolean isDeflated = integer(info.getObjectAt(rest + 2)).intValueExact() == 1;
    return new Opened(
        isDeflated ? inflated(content) : content,
        ASN1UTF8String.getInstance(info.getObjectAt(1)).getString(),
        integer(info.getObjectAt(2)));
  }

  /** There is one hash for each curve on which the originator has a key. */
  private static boolean contains(byte[] hashes, X509Certificate originator) throws Exception {
    byte[] hash = MessageDigest.getInstance("SHA-256").digest(originator.getEncoded());
    for (int at = 0; at < hashes.length; at += hash.length) {
      if (Arrays.equals(Arrays.copyOfRange(hashes, at, at + hash.length), hash)) return true;
    }
    return false;
  }

  private static byte[] contentKey(
      ASN1Set infos, PrivateKey key, X509Certificate recipient, X509Certificate originator)
      throws Exception {
    for (ASN1Encodable element : infos) {
      KeyAgreeRecipientInfo info =
          KeyAgreeRecipientInfo.getInstance(RecipientInfo.getInstance(element).getInfo());
      for (ASN1Encodable member : info.getRecipientEncryptedKeys()) {
        RecipientEncryptedKey encrypted = RecipientEncryptedKey.getInstance(member);
        byte[] named = octets(encrypted.getIdentifier().getRKeyID().getSubjectKeyIdentifier());
        if (!Arrays.equals(named, Stock.keyIdentifier(recipient))) continue;
        byte[] from = info.getOriginator().getSubjectKeyIdentifier().getKeyIdentifier();
        require(Arrays.equals(from, Stock.keyIdentifier(originator)), "originator");
        byte[] kek = keyEncryptionKey(info, key, recipient, originator);
        AESWrapEngine wrap = new AESWrapEngine();
        wrap.init(false, new KeyParameter(kek));
        byte[] wrapped = encrypted.getEncryptedKey().getOctets();
        return wrap.unwrap(wrapped, 0, wrapped.length);
      }
    }
    throw new IllegalStateException("not a recipient");
  }

  /** RFC 5753 §3.2; SP 800-56A §6.2.1.4: the recipient's static key stands for its ephemeral one too. */
  private static byte[] keyEncryptionKey(
      KeyAgreeRecipientInfo info, PrivateKey key, X509Certificate recipient, X509Certificate originator)
      throws Exception {
    ECPrivateKeyParameters own = (ECPrivateKeyParameters) PrivateKeyFactory.createKey(key.getEncoded());
    ECPublicKeyParameters ownPublic = publicKey(recipient);
    MQVuserKeyingMaterial material =
        MQVuserKeyingMaterial.getInstance(info.getUserKeyingMaterial().getOctets());
    byte[] point = material.getEphemeralPublicKey().getPublicKey().getBytes();
    ECPublicKeyParameters ephemeral =
        new ECPublicKeyParameters(own.getParameters().getCurve().decodePoint(point), own.getParameters());
    ECMQVBasicAgreement agreement = new ECMQVBasicAgreement();
    agreement.init(new MQVPrivateParameters(own, own, ownPublic));
    BigInteger secret =
        agreement.calculateAgreement(new MQVPublicParameters(publicKey(originator), ephemeral));

    AlgorithmIdentifier wrap =
        AlgorithmIdentifier.getInstance(info.getKeyEncryptionAlgorithm().getParameters());
    return keyEncryptionKey(
        info.getKeyEncryptionAlgorithm().getAlgorithm(),
        wrap,
        BigIntegers.asUnsignedByteArray(agreement.getFieldSize(), secret));
  }

  /** RFC 5753 §7.2: the X9.63 KDF over Z and ECC-CMS-SharedInfo. */
  static byte[] keyEncryptionKey(
      ASN1ObjectIdentifier agreement, AlgorithmIdentifier wrap, byte[] secret) throws Exception {
    byte[] kek = new byte[WRAPS.get(wrap.getAlgorithm())];
    byte[] bits = ByteBuffer.allocate(4).putInt(8 * kek.length).array();
    byte[] shared = new ECCCMSSharedInfo(wrap, bits).getEncoded(ASN1Encoding.DER);
    KDF2BytesGenerator kdf = new KDF2BytesGenerator(digest(agreement));
    kdf.init(new KDFParameters(secret, shared));
    kdf.generateBytes(kek, 0, kek.length);
    return kek;
  }

  static byte[] commitment(byte[] contentKey, byte[] nonce) {
    HKDFBytesGenerator hkdf = new HKDFBytesGenerator(new SHA256Digest());
    byte[] info = "plombe key commitment 1".getBytes(StandardCharsets.US_ASCII);
    hkdf.init(new HKDFParameters(contentKey, nonce, info));
    byte[] commitment = new byte[32];
    hkdf.generateBytes(commitment, 0, commitment.length);
    return commitment;
  }

  private static Digest digest(ASN1ObjectIdentifier agreement) {
    if (agreement.equals(SECObjectIdentifiers.mqvSinglePass_sha256kdf_scheme)) return new SHA256Digest();
    if (agreement.equals(SECObjectIdentifiers.mqvSinglePass_sha384kdf_scheme)) return new SHA384Digest();
    if (agreement.equals(SECObjectIdentifiers.mqvSinglePass_sha512kdf_scheme)) return new SHA512Digest();
    throw new IllegalStateException("key agreement " + agreement);
  }

  static ECPublicKeyParameters publicKey(X509Certificate certificate) throws Exception {
    return (ECPublicKeyParameters) PublicKeyFactory.createKey(certificate.getPublicKey().getEncoded());
  }

  private static ASN1Encodable value(AttributeTable attributes, ASN1ObjectIdentifier type) {
    ASN1Set values = attributes.get(type).getAttrValues();
    require(values.size() == 1, "attribute " + type + ": one value");
    return values.getObjectAt(0);
  }

  private static byte[] inflated(byte[] deflated) throws Exception {
    ByteArrayOutputStream content = new ByteArrayOutputStream();
    try (InflaterOutputStream inflater = new InflaterOutputStream(content, new Inflater(true))) {
      inflater.write(deflated);
    }
    return content.toByteArray();
  }

  private static byte[] octets(ASN1Encodable element) {
    ASN1Primitive found = element.toASN1Primitive();
    return found instanceof ASN1TaggedObject tagged
        ? ASN1OctetString.getInstance(tagged, false).getOctets()
        : ASN1OctetString.getInstance(found).getOctets();
  }

  private static BigInteger integer(ASN1Encodable element) {
    return ASN1Integer.getInstance(element).getValue();
  }

  private static void require(boolean holds, String what) {
    if (!holds) throw new IllegalStateException(what);
  }
}
