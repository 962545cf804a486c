// Kafka's own quota managers, one command per line on the standard input, one answer per line that asks for one:
//
//     new SAMPLES SECONDS                            forgets everything
//     quota KIND USER CLIENT VALUE                   USER and CLIENT: a name, * for any, - for none
//     use KIND MILLIS USER CLIENT VALUE              prints the throttle time
//     take MILLIS strict|permissive USER CLIENT N    prints the throttle time, and "refused"
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;

import kafka.server.ClientRequestQuotaManager;
import org.apache.kafka.common.errors.ThrottlingQuotaExceededException;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.metrics.MetricConfig;
import org.apache.kafka.common.metrics.Quota;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.utils.Sanitizer;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.network.Session;
import org.apache.kafka.server.config.ClientQuotaManagerConfig;
import org.apache.kafka.server.quota.ClientQuotaEntity;
import org.apache.kafka.server.quota.ClientQuotaManager;
import org.apache.kafka.server.quota.ControllerMutationQuota;
import org.apache.kafka.server.quota.ControllerMutationQuotaManager;
import org.apache.kafka.server.quota.QuotaType;

public class Quotas {
    /** A clock that shows the time that the commands give. */
    static class GivenTime implements Time {
        volatile long now = 1_700_000_000_000L;

        public long milliseconds() {
            return now;
        }

        public long nanoseconds() {
            return now * 1_000_000;
        }

        public void sleep(long ms) {
            now += ms;
        }

        public void waitObject(Object obj, Supplier<Boolean> condition, long deadlineMs) {
            throw new UnsupportedOperationException();
        }

        public <T> T waitForFuture(java.util.concurrent.CompletableFuture<T> future, long deadlineNanos) {
            throw new UnsupportedOperationException();
        }
    }

    static final GivenTime TIME = new GivenTime();
    static Map<String, ClientQuotaManager> managers = Map.of();

    static Session session(String user) throws Exception {
        return new Session(new KafkaPrincipal("User", user), InetAddress.getLoopbackAddress());
    }

    static void begin(int samples, int seconds) throws Exception {
        for (ClientQuotaManager manager : managers.values()) {
            manager.shutdown();
        }
        var config = new ClientQuotaManagerConfig(samples, seconds);
        var metrics = new Metrics(new MetricConfig(), List.of(), TIME);
        managers = Map.of(
            "produce", new ClientQuotaManager(config, metrics, QuotaType.PRODUCE, TIME, ""),
            "request", new ClientRequestQuotaManager(config, metrics, TIME, "", Optional.empty()),
            "mutation", new ControllerMutationQuotaManager(config, metrics, TIME, "", Optional.empty()));
    }

    static void quota(String kind, String user, String client, double value) {
        Optional<ClientQuotaEntity.ConfigEntity> ofUser = switch (user) {
            case "-" -> Optional.empty();
            case "*" -> Optional.of(ClientQuotaManager.DEFAULT_USER_ENTITY);
            default -> Optional.of(new ClientQuotaManager.UserEntity(Sanitizer.sanitize(user)));
        };
        Optional<ClientQuotaEntity.ConfigEntity> ofClient = switch (client) {
            case "-" -> Optional.empty();
            case "*" -> Optional.of(ClientQuotaManager.DEFAULT_USER_CLIENT_ID);
            default -> Optional.of(new ClientQuotaManager.ClientIdEntity(client));
        };
        managers.get(kind).updateQuota(ofUser, ofClient, Optional.of(Quota.upperBound(value)));
    }

    static String take(String mode, Session session, String client, double count) {
        var manager = (ControllerMutationQuotaManager) managers.get("mutation");
        ControllerMutationQuota quota = mode.equals("strict")
            ? manager.newStrictQuotaFor(session, client)
            : manager.newPermissiveQuotaFor(session, client);
        try {
            quota.record(count);
            return "" + quota.throttleTime();
        } catch (ThrottlingQuotaExceededException refused) {
            return quota.throttleTime() + " refused";
        }
    }

    public static void main(String[] args) throws Exception {
        var out = new StringBuilder();
        var in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] word = line.split(" ");
            switch (word[0]) {
                case "new" -> begin(Integer.parseInt(word[1]), Integer.parseInt(word[2]));
                case "quota" -> quota(word[1], word[2], word[3], Double.parseDouble(word[4]));
                case "use" -> {
                    TIME.now = Long.parseLong(word[2]);
                    var throttled = managers.get(word[1]).maybeRecordAndGetThrottleTimeMs(
                        session(word[3]), word[4], Double.parseDouble(word[5]), TIME.now);
                    out.append(throttled).append('\n');
                }
                case "take" -> {
                    TIME.now = Long.parseLong(word[1]);
                    out.append(take(word[2], session(word[3]), word[4], Double.parseDouble(word[5]))).append('\n');
                }
                default -> throw new IllegalArgumentException(line);
            }
        }
        System.out.print(out);
        System.out.flush();
        System.exit(0);
    }
}
