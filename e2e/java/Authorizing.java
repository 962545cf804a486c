// Kafka's own StandardAuthorizer, one command per line on the standard input, one answer per line that asks for one.
// Types, patterns, operations and permissions are Kafka's codes:
//
//     new SUPER_USERS ALLOW_EVERYONE                       forgets everything; - for no super user
//     acl TYPE PATTERN NAME PRINCIPAL HOST OPERATION PERMISSION
//     may PRINCIPAL HOST OPERATION TYPE NAME               prints true or false
//     any PRINCIPAL HOST OPERATION TYPE                    the same, of some resource of the type
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.metrics.internals.PluginMetricsImpl;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.metadata.authorizer.StandardAcl;
import org.apache.kafka.metadata.authorizer.StandardAuthorizer;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.apache.kafka.server.authorizer.AuthorizationResult;

public class Authorizing {
    record Asker(KafkaPrincipal principal, InetAddress clientAddress) implements AuthorizableRequestContext {
        public String listenerName() {
            return "apps";
        }

        public SecurityProtocol securityProtocol() {
            return SecurityProtocol.SASL_SSL;
        }

        public int requestType() {
            return 0;
        }

        public int requestVersion() {
            return 0;
        }

        public String clientId() {
            return "";
        }

        public int correlationId() {
            return 0;
        }
    }

    static StandardAuthorizer authorizer;
    static Map<Uuid, StandardAcl> acls = new HashMap<>();
    static boolean isLoaded;

    static void begin(String superUsers, String allowEveryone) {
        acls = new HashMap<>();
        isLoaded = false;
        authorizer = new StandardAuthorizer();
        authorizer.configure(Map.of(
            "node.id", "1",
            StandardAuthorizer.SUPER_USERS_CONFIG, superUsers.equals("-") ? "" : superUsers,
            StandardAuthorizer.ALLOW_EVERYONE_IF_NO_ACL_IS_FOUND_CONFIG, allowEveryone));
        authorizer.withPluginMetrics(new PluginMetricsImpl(new Metrics(), Map.of()));
        authorizer.completeInitialLoad();
    }

    static void acl(String[] word) {
        var pattern = new ResourcePattern(
            ResourceType.fromCode(Byte.parseByte(word[1])), word[3], PatternType.fromCode(Byte.parseByte(word[2])));
        var entry = new AccessControlEntry(
            word[4], word[5], AclOperation.fromCode(Byte.parseByte(word[6])),
            AclPermissionType.fromCode(Byte.parseByte(word[7])));
        acls.put(Uuid.randomUuid(), StandardAcl.fromAclBinding(new AclBinding(pattern, entry)));
        isLoaded = false;
    }

    static boolean answer(String[] word) throws Exception {
        if (!isLoaded) {
            authorizer.loadSnapshot(acls);
            isLoaded = true;
        }
        var asker = new Asker(new KafkaPrincipal("User", word[1]), InetAddress.getByName(word[2]));
        var operation = AclOperation.fromCode(Byte.parseByte(word[3]));
        var type = ResourceType.fromCode(Byte.parseByte(word[4]));
        if (word[0].equals("any")) {
            return authorizer.authorizeByResourceType(asker, operation, type) == AuthorizationResult.ALLOWED;
        }
        var pattern = new ResourcePattern(type, word[5], PatternType.LITERAL);
        var action = new Action(operation, pattern, 1, false, false);
        return authorizer.authorize(asker, List.of(action)).get(0) == AuthorizationResult.ALLOWED;
    }

    public static void main(String[] args) throws Exception {
        var out = new StringBuilder();
        var in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] word = line.split(" ");
            switch (word[0]) {
                case "new" -> begin(word[1], word[2]);
                case "acl" -> acl(word);
                case "may", "any" -> out.append(answer(word)).append('\n');
                default -> throw new IllegalArgumentException(line);
            }
        }
        System.out.print(out);
        System.out.flush();
        System.exit(0);
    }
}
