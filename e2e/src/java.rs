//! Java programs on this machine, with Kafka's jars or with Flink's.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::need::cache;

/// The options of every JVM: to be small and quick to start, and to keep log lines off its output.
pub const OPTIONS: [&str; 3] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dtoollog=off"];

/// A JVM with so much heap (`128m`); the class, or the [`source`], and its arguments are to follow.
pub fn jvm(heap: &str) -> Command {
    jvm_with(heap, &cache().join("kafka/4.3.1/*").display().to_string())
}

/// A JVM with so much heap that runs one of our own programs, given by its class, with Kafka's jars; its arguments are
/// to follow. For what is started often: it is compiled once, into `folder`.
pub fn compiled(heap: &str, class: &str, folder: &Path) -> Result<Command> {
    let mut command = compiled_with(heap, class, folder, &cache().join("kafka/4.3.1/*"))?;
    command.arg(class);
    Ok(command)
}

/// The same with Flink's jars, whose tasks load the program's classes by name.
pub fn flink(heap: &str, class: &str, folder: &Path) -> Result<Command> {
    let mut command = compiled_with(heap, class, folder, &cache().join("flink/2.2.1/*"))?;
    command.args(["-Dtoollog=error", class]);
    Ok(command)
}

fn compiled_with(heap: &str, class: &str, folder: &Path, jars: &Path) -> Result<Command> {
    let mut javac = Command::new("javac");
    javac.arg("-d").arg(folder).arg("-cp").arg(jars).arg(source(&format!("{class}.java")));
    let said = javac.output().context("failed to start javac")?;
    ensure!(said.status.success(), "javac: {}", String::from_utf8_lossy(&said.stderr));
    Ok(jvm_with(heap, &format!("{}:{}", folder.display(), jars.display())))
}

fn jvm_with(heap: &str, classes: &str) -> Command {
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/log4j2-tool.properties");
    let mut command = Command::new("java");
    command.arg(format!("-Xmx{heap}")).args(OPTIONS);
    command.arg(format!("-Dlog4j2.configurationFile={}", log.display()));
    command.args(["-cp", classes]);
    command
}

/// One of our own programs.
pub fn source(program: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("java").join(program)
}

/// The lines that one of our own programs prints for these commands, when it has read them all.
pub fn answers(program: &str, commands: &str) -> Result<Vec<String>> {
    let mut jvm = jvm("512m")
        .arg(source(program))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start a JVM")?;
    let mut input = jvm.stdin.take().context("stdin is piped")?;
    input.write_all(commands.as_bytes())?;
    drop(input);
    let output = jvm.wait_with_output()?;
    ensure!(output.status.success(), "the JVM ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}
