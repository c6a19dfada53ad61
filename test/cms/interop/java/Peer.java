import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
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
import java.util.List;
import java.util.Map;
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
        return word("envelope",
            Stock.seal(
                words.get("hash"),
                number("keyBytes"),
                key("originatorKey"),
                certificate("originator"),
                certificates("recipients"),
                octets("content")));
      case "open": {
        Stock.Opened opened = Stock.open(octets("envelope"), key("key"), certificate("recipient"));
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
      default:
        throw new IllegalArgumentException("no such verb: " + verb);
    }
  }

  private static String word(String name, byte[] value) {
    return name + "=" + Base64.getEncoder().encodeToString(value);
  }

  private int number(String name) {
    return Integer.parseInt(words.get(name));
  }

  private byte[] octets(String name) {
    return Base64.getDecoder().decode(words.get(name));
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
    for (String one : words.get(name).split(",")) {
      byte[] der = Base64.getDecoder().decode(one);
      found.add((X509Certificate) factory.generateCertificate(new ByteArrayInputStream(der)));
    }
    return found;
  }
}
