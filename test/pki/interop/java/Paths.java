import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.StringWriter;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.Security;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.Set;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.BasicConstraints;
import org.bouncycastle.asn1.x509.CRLNumber;
import org.bouncycastle.asn1.x509.CRLReason;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.KeyUsage;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.X509v2CRLBuilder;
import org.bouncycastle.cert.jcajce.JcaX509ExtensionUtils;
import org.bouncycastle.cert.jcajce.JcaX509v3CertificateBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openssl.jcajce.JcaPEMWriter;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;

/** `validate ROOT CRLS CHAIN…` says of each chain what BouncyCastle says; `make FOLDER` writes a small PKI of its making. */
public final class Paths {
  private static final long DAY_MS = 86_400_000L;

  public static void main(String[] args) throws Exception {
    Security.addProvider(new BouncyCastleProvider());
    if (args[0].equals("validate")) {
      for (int index = 3; index < args.length; index++) {
        System.out.println(validate(Path.of(args[1]), Path.of(args[2]), Path.of(args[index])));
      }
    } else {
      make(Path.of(args[1]));
    }
  }

  private static String validate(Path root, Path crls, Path chain) throws Exception {
    CertificateFactory factory = CertificateFactory.getInstance("X.509", "BC");
    List<X509Certificate> certificates = new ArrayList<>();
    try (InputStream in = Files.newInputStream(chain)) {
      factory.generateCertificates(in).forEach(one -> certificates.add((X509Certificate) one));
    }
    X509Certificate anchor;
    try (InputStream in = Files.newInputStream(root)) {
      anchor = (X509Certificate) factory.generateCertificate(in);
    }
    List<Object> lists = new ArrayList<>();
    for (String block : Files.readString(crls).split("(?<=-----END (?:X509 CRL|CERTIFICATE)-----\n)")) {
      if (block.contains("X509 CRL")) {
        lists.add(factory.generateCRL(new ByteArrayInputStream(block.getBytes())));
      }
    }
    PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(anchor, null)));
    parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(lists), "BC"));
    parameters.setRevocationEnabled(true);
    CertPath path = factory.generateCertPath(certificates);
    try {
      CertPathValidator.getInstance("PKIX", "BC").validate(path, parameters);
      return "accepted";
    } catch (CertPathValidatorException refusal) {
      return "refused " + refusal.getMessage().replace('\n', ' ');
    }
  }

  private static void make(Path folder) throws Exception {
    KeyPair root = newKey();
    KeyPair master = newKey();
    KeyPair client = newKey();
    KeyUsage signs = new KeyUsage(KeyUsage.keyCertSign | KeyUsage.cRLSign);
    X500Name rootName = new X500Name("CN=BC root");
    X500Name masterName = new X500Name("CN=ms-acc-1");
    X509CertificateHolder top = certificate(1, rootName, root, rootName, root, new BasicConstraints(2), signs);
    X509CertificateHolder middle = certificate(2, rootName, root, masterName, master, new BasicConstraints(1), signs);
    X509CertificateHolder leaf =
        certificate(3, masterName, master, masterName, client, new BasicConstraints(false),
            new KeyUsage(KeyUsage.digitalSignature));
    write(folder.resolve("root.pem"), top);
    write(folder.resolve("chain.pem"), leaf, middle);
    write(folder.resolve("before.pem"), top, list(rootName, root, 1), middle, list(masterName, master, 1));
    write(folder.resolve("after.pem"), top, list(rootName, root, 2), middle, list(masterName, master, 2, 3));
  }

  private static KeyPair newKey() throws Exception {
    KeyPairGenerator generator = KeyPairGenerator.getInstance("EC", "BC");
    generator.initialize(new ECGenParameterSpec("P-256"));
    return generator.generateKeyPair();
  }

  private static ContentSigner signer(KeyPair issuer) throws Exception {
    return new JcaContentSignerBuilder("SHA256withECDSA").setProvider("BC").build(issuer.getPrivate());
  }

  private static X509CertificateHolder certificate(
      int serial, X500Name issuerName, KeyPair issuer, X500Name name, KeyPair subject,
      BasicConstraints constraints, KeyUsage usage) throws Exception {
    Date from = new Date(System.currentTimeMillis() - DAY_MS);
    Date until = new Date(System.currentTimeMillis() + DAY_MS);
    JcaX509ExtensionUtils extensions = new JcaX509ExtensionUtils();
    return new JcaX509v3CertificateBuilder(
            issuerName, BigInteger.valueOf(serial), from, until, name, subject.getPublic())
        .addExtension(Extension.basicConstraints, true, (ASN1Encodable) constraints)
        .addExtension(Extension.keyUsage, true, usage)
        .addExtension(Extension.subjectKeyIdentifier, false, extensions.createSubjectKeyIdentifier(subject.getPublic()))
        .addExtension(Extension.authorityKeyIdentifier, false, extensions.createAuthorityKeyIdentifier(issuer.getPublic()))
        .build(signer(issuer));
  }

  private static Object list(X500Name issuerName, KeyPair issuer, int number, int... revoked) throws Exception {
    Date now = new Date(System.currentTimeMillis() - 1000);
    X509v2CRLBuilder builder = new X509v2CRLBuilder(issuerName, now);
    builder.setNextUpdate(new Date(now.getTime() + DAY_MS));
    builder.addExtension(Extension.cRLNumber, false, new CRLNumber(BigInteger.valueOf(number)));
    for (int serial : revoked) builder.addCRLEntry(BigInteger.valueOf(serial), now, CRLReason.keyCompromise);
    return builder.build(signer(issuer));
  }

  private static void write(Path file, Object... objects) throws Exception {
    StringWriter text = new StringWriter();
    try (JcaPEMWriter pem = new JcaPEMWriter(text)) {
      for (Object object : objects) pem.writeObject(object);
    }
    Files.writeString(file, text.toString());
  }
}
