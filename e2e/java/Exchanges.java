// Kafka's own SaslServers of SCRAM and OAUTHBEARER, one command per line on the standard input. Bytes are in base64; -
// stands for none:
//
//     user NAME MECHANISM PASSWORD SALT ITERATIONS       a user with a password
//     issuer FILE ISSUER AUDIENCE                        the keys (a JWKS), the name and the audience of tokens
//     begin MECHANISM NONCE                              a new exchange, with the server's part of the nonce
//     token TOKEN                                        prints what comes of it:
//
//     answer TOKEN                                       the exchange continues
//     done PRINCIPAL EXPIRES_MS TOKEN                    the client is let in
//     refused MESSAGE                                    it is not; MESSAGE if it is a document of JSON, else -
//     stumbled                                           an exception that no server should throw
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import javax.security.auth.callback.Callback;
import javax.security.auth.callback.NameCallback;
import javax.security.auth.login.AppConfigurationEntry;
import javax.security.sasl.SaslException;
import javax.security.sasl.SaslServer;

import org.apache.kafka.common.config.SaslConfigs;
import org.apache.kafka.common.config.internals.BrokerSecurityConfigs;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.security.authenticator.SaslInternalConfigs;
import org.apache.kafka.common.security.oauthbearer.BrokerJwtValidator;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.internals.OAuthBearerSaslServer;
import org.apache.kafka.common.security.scram.ScramCredential;
import org.apache.kafka.common.security.scram.ScramCredentialCallback;
import org.apache.kafka.common.security.scram.internals.ScramFormatter;
import org.apache.kafka.common.security.scram.internals.ScramMechanism;
import org.apache.kafka.common.security.scram.internals.ScramSaslServer;

public class Exchanges {
    /** Says what the server's part of the nonce is. */
    static class Formatter extends ScramFormatter {
        final String nonce;

        Formatter(ScramMechanism mechanism, String nonce) throws Exception {
            super(mechanism);
            this.nonce = nonce;
        }

        @Override
        public String secureRandomString() {
            return nonce;
        }
    }

    static final Map<String, ScramCredential> users = new HashMap<>();
    static final OAuthBearerValidatorCallbackHandler issuers = new OAuthBearerValidatorCallbackHandler();
    static SaslServer server;

    static byte[] bytes(String word) {
        return word.equals("-") ? new byte[0] : Base64.getDecoder().decode(word);
    }

    static String text(String word) {
        return new String(bytes(word), StandardCharsets.UTF_8);
    }

    static String word(byte[] bytes) {
        return bytes == null || bytes.length == 0 ? "-" : Base64.getEncoder().encodeToString(bytes);
    }

    static String word(String text) {
        return word(text.getBytes(StandardCharsets.UTF_8));
    }

    static void user(String[] word) throws Exception {
        var formatter = new ScramFormatter(ScramMechanism.forMechanismName(word[2]));
        int iterations = Integer.parseInt(word[5]);
        byte[] salted = formatter.saltedPassword(text(word[3]), bytes(word[4]), iterations);
        byte[] stored = formatter.storedKey(formatter.clientKey(salted));
        var credential = new ScramCredential(bytes(word[4]), stored, formatter.serverKey(salted), iterations);
        users.put(word[2] + " " + text(word[1]), credential);
    }

    static void issuer(String[] word) {
        String file = text(word[1]);
        String url = Path.of(file).toUri().toString();
        System.setProperty(BrokerSecurityConfigs.ALLOWED_SASL_OAUTHBEARER_URLS_CONFIG, url);
        System.setProperty(BrokerSecurityConfigs.ALLOWED_SASL_OAUTHBEARER_FILES_CONFIG, file);
        Map<String, Object> configs = Map.of(
            SaslConfigs.SASL_OAUTHBEARER_JWT_VALIDATOR_CLASS, BrokerJwtValidator.class,
            SaslConfigs.SASL_OAUTHBEARER_JWKS_ENDPOINT_URL, url,
            SaslConfigs.SASL_OAUTHBEARER_EXPECTED_ISSUER, text(word[2]),
            SaslConfigs.SASL_OAUTHBEARER_EXPECTED_AUDIENCE, List.of(text(word[3])),
            SaslConfigs.SASL_OAUTHBEARER_CLOCK_SKEW_SECONDS, SaslConfigs.DEFAULT_SASL_OAUTHBEARER_CLOCK_SKEW_SECONDS,
            SaslConfigs.SASL_OAUTHBEARER_SCOPE_CLAIM_NAME, SaslConfigs.DEFAULT_SASL_OAUTHBEARER_SCOPE_CLAIM_NAME,
            SaslConfigs.SASL_OAUTHBEARER_SUB_CLAIM_NAME, SaslConfigs.DEFAULT_SASL_OAUTHBEARER_SUB_CLAIM_NAME);
        var entry = new AppConfigurationEntry(
            OAuthBearerLoginModule.class.getName(),
            AppConfigurationEntry.LoginModuleControlFlag.REQUIRED,
            Map.of());
        issuers.configure(configs, OAuthBearerLoginModule.OAUTHBEARER_MECHANISM, List.of(entry));
    }

    static void begin(String mechanism, String nonce) throws Exception {
        if (mechanism.equals(OAuthBearerLoginModule.OAUTHBEARER_MECHANISM)) {
            server = new OAuthBearerSaslServer(issuers);
            return;
        }
        var scram = ScramMechanism.forMechanismName(mechanism);
        server = new ScramSaslServer(scram, Map.of(), callbacks -> {
            String name = null;
            for (Callback callback : callbacks) {
                if (callback instanceof NameCallback asked) {
                    name = asked.getDefaultName();
                } else if (callback instanceof ScramCredentialCallback asked) {
                    asked.scramCredential(users.get(mechanism + " " + name));
                }
            }
        });
        var formatter = ScramSaslServer.class.getDeclaredField("formatter");
        formatter.setAccessible(true);
        formatter.set(server, new Formatter(scram, nonce));
    }

    static String token(byte[] token) {
        try {
            byte[] answer = server.evaluateResponse(token);
            if (!server.isComplete()) {
                return "answer " + word(answer);
            }
            var expires = server.getNegotiatedProperty(
                SaslInternalConfigs.CREDENTIAL_LIFETIME_MS_SASL_NEGOTIATED_PROPERTY_KEY);
            return "done " + word(server.getAuthorizationID()) + " " + (expires == null ? "-" : expires) + " "
                + word(answer);
        } catch (SaslAuthenticationException e) {
            return "refused " + (e.getMessage().startsWith("{") ? word(e.getMessage()) : "-");
        } catch (SaslException e) {
            return "refused -";
        } catch (RuntimeException e) {
            return "stumbled";
        }
    }

    public static void main(String[] args) throws Exception {
        var out = new StringBuilder();
        var in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] word = line.split(" ");
            switch (word[0]) {
                case "user" -> user(word);
                case "issuer" -> issuer(word);
                case "begin" -> begin(word[1], word[2]);
                case "token" -> out.append(token(bytes(word[1]))).append('\n');
                default -> throw new IllegalArgumentException(line);
            }
        }
        System.out.print(out);
        System.out.flush();
        System.exit(0);
    }
}
