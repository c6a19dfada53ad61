import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Function;
import java.util.stream.Stream;
import org.bouncycastle.jce.provider.BouncyCastleProvider;

/**
 * Answers one request a line, and ends with its standard input.
 *
 * A request is a verb and NAME=VALUE words, bytes in base64. An answer is `ok` and such words, or `refused` and why.
 */
public final class Peer {
  private final Map<String, String> words = new HashMap<>();

  private Peer(String[] request) {
    for (int at = 1; at < request.length; at++) {
      String[] word = request[at].split("=", 2);
      words.put(word[0], word[1]);
    }
  }

  public static void main(String[] arguments) throws Exception {
    Security.addProvider(new BouncyCastleProvider());
    BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    PrintStream answers = new PrintStream(new FileOutputStream(FileDescriptor.out), true);
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      answers.println(answer(line.split(" ")));
    }
  }

  private static String answer(String[] request) {
    try {
      return "ok " + new Peer(request).answerTo(request[0]);
    } catch (Exception refusal) {
      return "refused " + String.valueOf(refusal).replace('\n', ' ');
    }
  }

  private String answerTo(String verb) throws Exception {
    switch (verb) {
      case "seal":
        return word("envelope", sealing().call());
      case "open": {
        Stock.Opened opened = Stock.open(octets("envelope"), reader());
        return word("content", opened.content()) + " " + word("originatorPoint", opened.originatorPoint());
      }
      case "verify":
        return word("content", Stock.verify(octets("envelope"), certificate("signer")));
      case "openStrictly": {
        Strict.Opened opened =
            Strict.open(
                octets("envelope"),
                key("key"),
                certificate("recipient"),
                certificate("signer"),
                certificate("originator"));
        return word("content", opened.content())
            + " " + word("topic", opened.topic().getBytes(StandardCharsets.UTF_8))
            + " sequence=" + opened.sequence();
      }
      case "sealStrictly":
        return word("envelope",
            StrictSender.seal(
                words.get("hash"),
                new StrictSender.Originator(
                    key("originatorKey"),
                    certificate("originator"),
                    key("signatureKey"),
                    certificate("signer")),
                certificates("recipients"),
                new String(octets("topic"), StandardCharsets.UTF_8),
                Long.parseLong(words.get("sequence")),
                octets("content")));
      case "measureSeal":
        return measured(sealing());
      case "measureOpen":
        return measured(opening());
      default:
        throw new IllegalArgumentException("no such verb: " + verb);
    }
  }

  private Callable<byte[]> sealing() throws Exception {
    String hash = words.get("hash");
    int keyBytes = Integer.parseInt(words.get("keyBytes"));
    PrivateKey key = key("originatorKey");
    X509Certificate originator = certificate("originator");
    List<X509Certificate> recipients = certificates("recipients");
    byte[] content = octets("content");
    return () -> Stock.seal(hash, keyBytes, key, originator, recipients, content);
  }

  /** Opens one of several envelopes after the other. */
  private Callable<Stock.Opened> opening() throws Exception {
    Stock.Reader reader = reader();
    Iterator<byte[]> envelopes =
        Stream.generate(list("envelopes")::stream).flatMap(Function.identity()).iterator();
    return () -> Stock.open(envelopes.next(), reader);
  }

  private Stock.Reader reader() throws Exception {
    return new Stock.Reader(key("key"), certificate("recipient"));
  }

  /** Counts how often an operation runs in a given CPU time. */
  private String measured(Callable<?> operation) throws Exception {
    // Of the whole process, as on our side: what is collected and compiled meanwhile counts too.
    OperatingSystemMXBean process = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    long enough = 1_000_000 * Long.parseLong(words.get("cpuMs"));
    long start = process.getProcessCpuTime();
    long used = 0;
    long operations = 0;
    for (; used < enough; used = process.getProcessCpuTime() - start) {
      operation.call();
      operations++;
    }
    return "operations=" + operations + " cpuNs=" + used;
  }

  private static String word(String name, byte[] value) {
    return name + "=" + Base64.getEncoder().encodeToString(value);
  }

  private byte[] octets(String name) {
    return list(name).get(0);
  }

  private List<byte[]> list(String name) {
    return Stream.of(words.get(name).split(",")).map(Base64.getDecoder()::decode).toList();
  }

  private PrivateKey key(String name) throws Exception {
    return KeyFactory.getInstance("EC", "BC").generatePrivate(new PKCS8EncodedKeySpec(octets(name)));
  }

  private X509Certificate certificate(String name) throws Exception {
    return certificates(name).get(0);
  }

  private List<X509Certificate> certificates(String name) throws Exception {
    CertificateFactory factory = CertificateFactory.getInstance("X.509", "BC");
    List<X509Certificate> found = new ArrayList<>();
    for (byte[] der : list(name)) {
      found.add((X509Certificate) factory.generateCertificate(new ByteArrayInputStream(der)));
    }
    return found;
  }
}
