// Runs Kafka's command line tools one after the other in one JVM: a start of the JVM costs more than most commands.
// Frames, all lengths as int32. In: class, standard input, argument count, arguments. Out: exit code, output, errors.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.common.utils.Exit;

public class Session {
    private static final int LIMIT_SECONDS = 180;

    /** The exit code of the running tool. Only one runs at a time. */
    private static volatile CompletableFuture<Integer> exit;
    /** What the tool wants done when the JVM ends: the console producer's flush, for one. */
    private static final List<Runnable> hooks = new CopyOnWriteArrayList<>();

    public static void main(String[] args) throws Exception {
        DataInputStream in = new DataInputStream(System.in);
        DataOutputStream out = new DataOutputStream(System.out);
        // Some classes keep System.out from the time they were loaded, so the streams stay and are emptied.
        ByteArrayOutputStream output = new ByteArrayOutputStream();
        ByteArrayOutputStream errors = new ByteArrayOutputStream();
        System.setOut(new PrintStream(output, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(errors, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure((code, message) -> end(code));
        Exit.setHaltProcedure((code, message) -> end(code));
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        while (true) {
            String tool;
            try {
                tool = text(in);
            } catch (EOFException end) {
                return;
            }
            System.setIn(new ByteArrayInputStream(text(in).getBytes(StandardCharsets.UTF_8)));
            String[] arguments = new String[in.readInt()];
            for (int i = 0; i < arguments.length; i++) {
                arguments[i] = text(in);
            }
            int code = run(tool, arguments);
            System.out.flush();
            System.err.flush();
            out.writeInt(code);
            write(out, output);
            write(out, errors);
            out.flush();
        }
    }

    private static int run(String tool, String[] arguments) {
        CompletableFuture<Integer> code = new CompletableFuture<>();
        exit = code;
        hooks.clear();
        start(() -> call(tool, arguments));
        int answer = await(code, 124);
        for (Runnable hook : hooks) {
            CompletableFuture<Integer> done = new CompletableFuture<>();
            start(() -> {
                hook.run();
                done.complete(0);
            });
            await(done, 124);
        }
        return answer;
    }

    private static void call(String tool, String[] arguments) {
        CompletableFuture<Integer> code = exit;
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
            code.complete(0);
        } catch (InvocationTargetException thrown) {
            thrown.getCause().printStackTrace();
            code.complete(1);
        } catch (ReflectiveOperationException missing) {
            missing.printStackTrace();
            code.complete(1);
        }
    }

    /** Stands for System.exit. It must not return, and tools catch everything that is thrown: the thread stays here. */
    private static void end(int code) {
        exit.complete(code);
        while (true) {
            LockSupport.park();
        }
    }

    private static void start(Runnable work) {
        Thread thread = new Thread(work, "tool");
        thread.setDaemon(true);
        thread.start();
    }

    private static int await(CompletableFuture<Integer> code, int otherwise) {
        try {
            return code.get(LIMIT_SECONDS, TimeUnit.SECONDS);
        } catch (TimeoutException | InterruptedException | ExecutionException slow) {
            System.err.println("stopped after " + LIMIT_SECONDS + " s");
            return otherwise;
        }
    }

    private static String text(DataInputStream in) throws Exception {
        return new String(in.readNBytes(in.readInt()), StandardCharsets.UTF_8);
    }

    private static void write(DataOutputStream out, ByteArrayOutputStream bytes) throws Exception {
        out.writeInt(bytes.size());
        bytes.writeTo(out);
        bytes.reset();
    }
}
