package plombe;

import com.hivemq.extension.sdk.api.auth.parameter.PublishAuthorizerInput;
import com.hivemq.extension.sdk.api.auth.parameter.PublishAuthorizerOutput;
import com.hivemq.extension.sdk.api.auth.parameter.SimpleAuthInput;
import com.hivemq.extension.sdk.api.auth.parameter.SimpleAuthOutput;
import com.hivemq.extension.sdk.api.auth.parameter.SubscriptionAuthorizerInput;
import com.hivemq.extension.sdk.api.auth.parameter.SubscriptionAuthorizerOutput;
import com.hivemq.extension.sdk.api.client.parameter.ClientTlsInformation;
import com.hivemq.extension.sdk.api.client.parameter.ConnectionAttributeStore;
import com.hivemq.extension.sdk.api.client.parameter.ConnectionInformation;
import com.hivemq.extension.sdk.api.packets.publish.PublishPacket;
import com.hivemq.extension.sdk.api.packets.subscribe.Subscription;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;

/** Stands in for HiveMQ: a line asks, a line answers. */
public final class Harness {
    private static final PlombeAccess ACCESS = new PlombeAccess();

    public static void main(String[] arguments) throws Exception {
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = questions.readLine()) != null; ) {
            String[] words = line.split(" ", -1);
            System.out.println(words[0].equals("connect") ? connect(words[1]) : authorize(words[0], words[1], words[2]));
        }
    }

    private static String connect(String chain) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        X509Certificate[] certificates = factory.generateCertificates(new ByteArrayInputStream(decode(chain)))
                .toArray(new X509Certificate[0]);
        Map<String, String> attributes = new HashMap<>();
        String[] outcome = {"nothing"};
        ACCESS.onConnect(
                answering(SimpleAuthInput.class, method -> connection(attributes, certificates)),
                answering(SimpleAuthOutput.class, method -> {
                    outcome[0] = method;
                    return null;
                }));
        if (!outcome[0].equals("authenticateSuccessfully")) return outcome[0];
        return attributes.get("plombe.identity");
    }

    private static String authorize(String action, String identity, String topic) {
        String asked = new String(decode(topic), StandardCharsets.UTF_8);
        Map<String, String> attributes = new HashMap<>(Map.of("plombe.identity", identity));
        String[] outcome = {"nothing"};
        Function<String, Object> output = method -> {
            outcome[0] = method;
            return null;
        };
        Function<String, Object> input = method -> {
            switch (method) {
                case "getPublishPacket":
                    return answering(PublishPacket.class, inner -> asked);
                case "getSubscription":
                    return answering(Subscription.class, inner -> asked);
                default:
                    return connection(attributes, new X509Certificate[0]);
            }
        };
        if (action.equals("publish")) {
            ACCESS.authorizePublish(
                    answering(PublishAuthorizerInput.class, input), answering(PublishAuthorizerOutput.class, output));
        } else {
            ACCESS.authorizeSubscribe(
                    answering(SubscriptionAuthorizerInput.class, input),
                    answering(SubscriptionAuthorizerOutput.class, output));
        }
        return outcome[0];
    }

    private static ConnectionInformation connection(Map<String, String> attributes, X509Certificate[] chain) {
        return answering(ConnectionInformation.class, method -> method.equals("getClientTlsInformation")
                ? Optional.of(answering(ClientTlsInformation.class, inner -> Optional.of(chain)))
                : store(attributes));
    }

    private static ConnectionAttributeStore store(Map<String, String> attributes) {
        return (ConnectionAttributeStore) Proxy.newProxyInstance(
                Harness.class.getClassLoader(),
                new Class<?>[] {ConnectionAttributeStore.class},
                (proxy, method, values) -> method.getName().equals("putAsString")
                        ? attributes.put((String) values[0], (String) values[1])
                        : Optional.ofNullable(attributes.get((String) values[0])));
    }

    /** What of an interface is called is answered by the method's name. */
    private static <T> T answering(Class<T> type, Function<String, Object> answers) {
        return type.cast(Proxy.newProxyInstance(
                Harness.class.getClassLoader(),
                new Class<?>[] {type},
                (proxy, method, values) -> answers.apply(method.getName())));
    }

    private static byte[] decode(String base64) {
        return Base64.getDecoder().decode(base64);
    }
}
