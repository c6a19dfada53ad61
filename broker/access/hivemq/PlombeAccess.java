/*
 * The rights of Plombe's topic access control system, as an extension of HiveMQ 4.6 or later, Community Edition or not.
 * `plombe tacs export --for hivemq > PlombeAccess.java` has put the roles of a broker's configuration into it.
 *
 * Build it with the Extension SDK of your HiveMQ, and install it:
 *
 *   javac --release 11 -cp hivemq-extension-sdk.jar -d classes PlombeAccess.java
 *   mkdir -p classes/META-INF/services plombe-access
 *   echo plombe.PlombeAccess > classes/META-INF/services/com.hivemq.extension.sdk.api.ExtensionMain
 *   jar --create --file plombe-access/plombe-access.jar -C classes .
 *   cat > plombe-access/hivemq-extension.xml <<END
 *   <hivemq-extension><id>plombe-access</id><name>Plombe TACS</name><version>1.0.0</version></hivemq-extension>
 *   END
 *   mv plombe-access HIVEMQ_HOME/extensions/ && rm -r HIVEMQ_HOME/extensions/hivemq-allow-all-extension
 *
 * Needs in config.xml: tls-tcp-listener alone, with client-authentication-mode REQUIRED and a truststore that holds
 * Plombe's TLS root and nothing else.
 */
package plombe;

import com.hivemq.extension.sdk.api.ExtensionMain;
import com.hivemq.extension.sdk.api.auth.PublishAuthorizer;
import com.hivemq.extension.sdk.api.auth.SimpleAuthenticator;
import com.hivemq.extension.sdk.api.auth.SubscriptionAuthorizer;
import com.hivemq.extension.sdk.api.auth.parameter.PublishAuthorizerInput;
import com.hivemq.extension.sdk.api.auth.parameter.PublishAuthorizerOutput;
import com.hivemq.extension.sdk.api.auth.parameter.SimpleAuthInput;
import com.hivemq.extension.sdk.api.auth.parameter.SimpleAuthOutput;
import com.hivemq.extension.sdk.api.auth.parameter.SubscriptionAuthorizerInput;
import com.hivemq.extension.sdk.api.auth.parameter.SubscriptionAuthorizerOutput;
import com.hivemq.extension.sdk.api.client.parameter.ClientTlsInformation;
import com.hivemq.extension.sdk.api.client.parameter.ConnectionInformation;
import com.hivemq.extension.sdk.api.packets.connect.ConnackReasonCode;
import com.hivemq.extension.sdk.api.packets.publish.AckReasonCode;
import com.hivemq.extension.sdk.api.packets.subscribe.SubackReasonCode;
import com.hivemq.extension.sdk.api.parameter.ExtensionStartInput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStartOutput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStopInput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStopOutput;
import com.hivemq.extension.sdk.api.services.Services;
import java.security.GeneralSecurityException;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.naming.InvalidNameException;
import javax.naming.ldap.LdapName;
import javax.naming.ldap.Rdn;
import javax.security.auth.x500.X500Principal;

public final class PlombeAccess implements ExtensionMain, SimpleAuthenticator, PublishAuthorizer, SubscriptionAuthorizer {

    /** Identity, "publish" or "subscribe", topic filter. */
    private static final String[][] ROLES = {
        // the roles
    };

    /** What whoever has a certificate of the tree may read. */
    private static final String[] EVERYONE_READS = {
        // what everyone reads
    };

    /** Of a certificate that is good for enrolment alone. */
    private static final String ENROLMENT_PURPOSE = "the enrolment purpose";

    /** A leaf and two CAs below the root. */
    private static final int CERTIFICATES_MAX = 3;

    private static final String IDENTITY = "plombe.identity";

    @Override
    public void extensionStart(ExtensionStartInput input, ExtensionStartOutput output) {
        Services.securityRegistry().setAuthenticatorProvider(provider -> this);
        Services.securityRegistry().setAuthorizerProvider(provider -> this);
    }

    @Override
    public void extensionStop(ExtensionStopInput input, ExtensionStopOutput output) {}

    @Override
    public void onConnect(SimpleAuthInput input, SimpleAuthOutput output) {
        ConnectionInformation connection = input.getConnectionInformation();
        String identity = connection
                .getClientTlsInformation()
                .flatMap(ClientTlsInformation::getClientCertificateChain)
                .map(PlombeAccess::identityOf)
                .orElse(null);
        if (identity == null) {
            output.failAuthentication(ConnackReasonCode.NOT_AUTHORIZED, "the certificate is nobody's");
            return;
        }
        connection.getConnectionAttributeStore().putAsString(IDENTITY, identity);
        output.authenticateSuccessfully();
    }

    @Override
    public void authorizePublish(PublishAuthorizerInput input, PublishAuthorizerOutput output) {
        String topic = input.getPublishPacket().getTopic();
        if (isAllowed(identityOf(input.getConnectionInformation()), "publish", topic)) output.authorizeSuccessfully();
        else output.failAuthorization(AckReasonCode.NOT_AUTHORIZED, "outside its subtree and its role");
    }

    @Override
    public void authorizeSubscribe(SubscriptionAuthorizerInput input, SubscriptionAuthorizerOutput output) {
        String filter = withoutShare(input.getSubscription().getTopicFilter());
        if (isAllowed(identityOf(input.getConnectionInformation()), "subscribe", filter)) output.authorizeSuccessfully();
        else output.failAuthorization(SubackReasonCode.NOT_AUTHORIZED, "outside its subtree and its role");
    }

    private static String identityOf(ConnectionInformation connection) {
        return connection.getConnectionAttributeStore().getAsString(IDENTITY).orElse("");
    }

    /**
     * Path discipline: a name is its issuer's, or that and one segment more. That the chain ends at the root is TLS's part.
     *
     * @param chain as the client sent it, leaf first
     * @return the common name; of one that may only be enrolled, the topic where it asks for that; null: nobody
     */
    static String identityOf(X509Certificate[] chain) {
        int length = chain.length;
        if (length > 1 && isSelfIssued(chain[length - 1])) length--;
        if (length < 1 || length > CERTIFICATES_MAX) return null;
        String position = "";
        for (int index = length - 1; index > 0; index--) {
            String name = commonName(chain[index].getSubjectX500Principal());
            if (!isIssuerOf(chain[index], chain[index - 1]) || !isAuthorityBelow(position, name)) return null;
            position = name;
        }
        String name = commonName(chain[0].getSubjectX500Principal());
        if (chain[0].getBasicConstraints() >= 0 || !isIdentityBelow(position, name)) return null;
        try {
            List<String> purposes = chain[0].getExtendedKeyUsage();
            return purposes != null && purposes.contains(ENROLMENT_PURPOSE) ? enrolmentTopic(name) : name;
        } catch (GeneralSecurityException unreadable) {
            return null;
        }
    }

    private static boolean isSelfIssued(X509Certificate certificate) {
        return certificate.getSubjectX500Principal().equals(certificate.getIssuerX500Principal());
    }

    private static boolean isIssuerOf(X509Certificate authority, X509Certificate issued) {
        if (authority.getBasicConstraints() < 0) return false;
        if (!issued.getIssuerX500Principal().equals(authority.getSubjectX500Principal())) return false;
        try {
            issued.verify(authority.getPublicKey());
            return true;
        } catch (GeneralSecurityException wrong) {
            return false;
        }
    }

    /** @param position "" of the root, "vendor", or the path of a CA */
    private static boolean isAuthorityBelow(String position, String name) {
        if (name == null || position.equals("vendor")) return false;
        if (position.isEmpty()) return name.equals("vendor") || isPath(name) && levels(name).length == 1;
        return isPath(name) && levels(name).length < 3 && isOneBelow(name, position);
    }

    private static boolean isIdentityBelow(String position, String name) {
        if (name == null) return false;
        if (position.isEmpty() || position.equals("vendor")) return isService(name);
        return isPath(name) && (name.equals(position) || isOneBelow(name, position));
    }

    private static boolean isOneBelow(String name, String above) {
        return name.startsWith(above + "/") && isSegment(name.substring(above.length() + 1));
    }

    /** @return null unless there is exactly one, in a name without multi-valued parts */
    private static String commonName(X500Principal principal) {
        String found = null;
        try {
            for (Rdn rdn : new LdapName(principal.getName(X500Principal.RFC2253)).getRdns()) {
                if (rdn.size() != 1) return null;
                if (!rdn.getType().equalsIgnoreCase("CN")) continue;
                if (found != null || !(rdn.getValue() instanceof String)) return null;
                found = (String) rdn.getValue();
            }
        } catch (InvalidNameException unreadable) {
            return null;
        }
        return found;
    }

    private static final Pattern SEGMENT = Pattern.compile("[A-Za-z0-9._-]{1,20}");
    private static final Pattern ONLY_DOTS = Pattern.compile("\\.+");
    private static final Pattern SERVICE = Pattern.compile("vendor-[a-z0-9-]{1,33}");

    private static boolean isSegment(String text) {
        return SEGMENT.matcher(text).matches() && !ONLY_DOTS.matcher(text).matches();
    }

    private static boolean isService(String name) {
        return name.equals("MRO-Admin") || SERVICE.matcher(name).matches();
    }

    private static boolean isFactory(String name) {
        return isService(name) && name.startsWith("vendor-factory-") && name.length() > "vendor-factory-".length();
    }

    private static boolean isPath(String name) {
        String[] levels = levels(name);
        String first = levels[0].toLowerCase(Locale.ROOT);
        boolean isReserved = first.equals("vendor") || first.startsWith("vendor-") || first.equals("mro-admin");
        return levels.length <= 3 && !isReserved && Arrays.stream(levels).allMatch(PlombeAccess::isSegment);
    }

    private static String enrolmentTopic(String name) {
        if (isFactory(name)) return "vendor/enrolment/" + name;
        return isPath(name) && levels(name).length == 3 ? name + "/enrolment" : null;
    }

    private static final Pattern ENROLMENT = Pattern.compile("vendor/enrolment/([^/]+)|([^/]+/[^/]+/[^/]+)/enrolment");

    private static boolean isEnrolmentTopic(String identity) {
        var found = ENROLMENT.matcher(identity);
        if (!found.matches()) return false;
        return identity.equals(enrolmentTopic(found.group(1) == null ? found.group(2) : found.group(1)));
    }

    /** Whether every topic that `topic` can match is granted; it is a name to publish to, or a filter to subscribe to. */
    static boolean isAllowed(String identity, String action, String topic) {
        boolean isPublish = action.equals("publish");
        if (topic == null || !isWellFormed(topic, isPublish)) return false;
        if (isPublish && topic.startsWith("$")) return false;
        List<String> rights = rightsOf(identity, action);
        return isCovered(rights, topic);
    }

    private static List<String> rightsOf(String identity, String action) {
        boolean isSubscribe = action.equals("subscribe");
        List<String> rights = new ArrayList<>();
        if (!isPath(identity) && !isService(identity)) {
            if (isEnrolmentTopic(identity)) rights.add(isSubscribe ? identity + "/reply" : identity);
            return rights;
        }
        if (isPath(identity)) {
            rights.add(identity + "/#");
            for (int end = identity.lastIndexOf('/'); isSubscribe && end > 0; end = identity.lastIndexOf('/', end - 1)) {
                rights.add(identity.substring(0, end) + "/policy");
            }
        }
        if (isSubscribe) rights.addAll(Arrays.asList(EVERYONE_READS));
        for (String[] role : ROLES) if (role[0].equals(identity) && role[1].equals(action)) rights.add(role[2]);
        return rights;
    }

    /** @return the filter of a shared subscription, whose name grants nothing; null if it is malformed */
    private static String withoutShare(String filter) {
        if (!filter.startsWith("$share/")) return filter;
        int slash = filter.indexOf('/', "$share/".length());
        String name = slash < 0 ? "" : filter.substring("$share/".length(), slash);
        boolean isName = !name.isEmpty() && name.length() <= 64 && !name.contains("+") && !name.contains("#");
        return isName ? filter.substring(slash + 1) : null;
    }

    private static boolean isWellFormed(String topic, boolean isName) {
        if (topic.isEmpty() || topic.indexOf('\0') >= 0) return false;
        String[] levels = levels(topic);
        for (int index = 0; index < levels.length; index++) {
            boolean hasWildcard = levels[index].contains("+") || levels[index].contains("#");
            boolean isWildcard = levels[index].equals("+") || levels[index].equals("#") && index == levels.length - 1;
            if (hasWildcard && (isName || !isWildcard)) return false;
        }
        return true;
    }

    private static boolean isCovered(List<String> rights, String filter) {
        // [MQTT-4.7.2-1]: a leading wildcard never matches a topic that begins with $.
        List<String[]> candidates = rights.stream()
                .filter(right -> !(filter.startsWith("$") && (right.startsWith("+") || right.startsWith("#"))))
                .map(PlombeAccess::levels)
                .collect(Collectors.toList());
        return isCovered(candidates, levels(filter), 0);
    }

    /** Walks one level at a time; the rights are those that match everything walked so far. */
    private static boolean isCovered(List<String[]> rights, String[] filter, int depth) {
        if (rights.isEmpty()) return false;
        if (rights.stream().anyMatch(right -> right.length > depth && right[depth].equals("#"))) return true;
        boolean endsHere = rights.stream().anyMatch(right -> right.length == depth);
        if (depth == filter.length) return endsHere;
        String level = filter[depth];
        if (level.equals("#")) {
            // # stands for nothing (at the top level it must stand for something) and for any number of levels.
            if (depth > 0 && !endsHere) return false;
            String[] longer = Arrays.copyOf(filter, depth + 2);
            longer[depth] = "+";
            longer[depth + 1] = "#";
            return isCovered(matching(rights, depth, "+"), longer, depth + 1);
        }
        return isCovered(matching(rights, depth, level), filter, depth + 1);
    }

    /** A + includes a level that no right names, and whatever matches that one matches every other too. */
    private static List<String[]> matching(List<String[]> rights, int depth, String level) {
        return rights.stream()
                .filter(right -> right.length > depth)
                .filter(right -> right[depth].equals("+") || !level.equals("+") && right[depth].equals(level))
                .collect(Collectors.toList());
    }

    private static String[] levels(String topic) {
        return topic.split("/", -1);
    }
}
