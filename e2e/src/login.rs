//! Stock clients that say who they are, with what the operator put into the Secret of their KafkaUser.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::need::cache;

/// What kafka-python says when it sends and reads a record with these settings: `ok`, or `refused`.
pub fn kafka_python(bootstrap: &str, settings: &[String]) -> Result<String> {
    python("login.py", &[bootstrap], settings)
}

/// What kafka-python reads first of a topic as a member of a group, or the name of its error.
pub fn read(bootstrap: &str, topic: &str, group: &str, settings: &[String]) -> Result<String> {
    python("read.py", &[bootstrap, topic, group], settings)
}

fn python(script: &str, arguments: &[&str], settings: &[String]) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let mut command = Command::new(cache().join("python/bin/python"));
    let output = command.arg(script).args(arguments).args(settings).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The credentials of a user, as files.
pub struct Credentials<'a> {
    /// The KafkaUser's name, and the Secret's.
    pub user: &'a str,
    /// Where files are written.
    pub folder: &'a Path,
    /// `kubectl` where the Secret is.
    pub kubectl: &'a dyn Fn(&str) -> Result<String>,
}

impl Credentials<'_> {
    /// Writes a key of the Secret into a file.
    pub fn saved(&self, key: &str) -> Result<PathBuf> {
        let path = format!("{{.data.{}}}", key.replace('.', "\\."));
        let text = (self.kubectl)(&format!("get secret {} -o jsonpath={path}", self.user))?;
        let file = self.folder.join(format!("{}-{key}", self.user));
        std::fs::write(&file, BASE64_STANDARD.decode(text)?)?;
        Ok(file)
    }

    /// The settings of kafka-python for a user with a certificate.
    pub fn by_certificate(&self) -> Result<Vec<String>> {
        let setting = |name: &str, key: &str| self.saved(key).map(|file| format!("{name}={}", file.display()));
        Ok(vec![
            "security_protocol=SSL".to_owned(),
            setting("ssl_cafile", "cluster-ca.crt")?,
            setting("ssl_certfile", "user.crt")?,
            setting("ssl_keyfile", "user.key")?,
        ])
    }

    /// The settings of kafka-python for a user with a password, under TLS.
    pub fn by_password(&self, mechanism: &str) -> Result<Vec<String>> {
        let mut settings = vec![
            "security_protocol=SASL_SSL".to_owned(),
            format!("ssl_cafile={}", self.saved("cluster-ca.crt")?.display()),
        ];
        settings.extend(self.password(mechanism)?);
        Ok(settings)
    }

    /// The same where there is no TLS.
    pub fn by_password_without_tls(&self, mechanism: &str) -> Result<Vec<String>> {
        let mut settings = vec!["security_protocol=SASL_PLAINTEXT".to_owned()];
        settings.extend(self.password(mechanism)?);
        Ok(settings)
    }

    fn password(&self, mechanism: &str) -> Result<[String; 3]> {
        let password = std::fs::read_to_string(self.saved("password")?)?;
        Ok([
            format!("sasl_mechanism={mechanism}"),
            format!("sasl_plain_username={}", self.user),
            format!("sasl_plain_password={password}"),
        ])
    }
}

/// The YAML of a KafkaUser.
pub fn user(name: &str, cluster: &str, authentication: &str) -> String {
    format!(
        "apiVersion: ottla.io/v1alpha1
kind: KafkaUser
metadata: {{name: {name}}}
spec:
  clusterRef: {{name: {cluster}}}
  authentication: {{type: {authentication}}}
"
    )
}

/// A certificate that openssl makes in this folder, `<name>.crt` and `<name>.key`: signed by itself, or by `of`.
pub fn certificate(folder: &Path, name: &str, subject: &str, more: &[&str], of: Option<&str>) -> Result<()> {
    let run = |args: &[&str]| -> Result<()> {
        let output = Command::new("openssl").current_dir(folder).args(args).output()?;
        ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    let [certificate, key, request] = ["crt", "key", "csr"].map(|extension| format!("{name}.{extension}"));
    let mut args = vec!["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject];
    args.extend(["-keyout", &key]);
    args.extend(more);
    let Some(of) = of else {
        args.extend(["-x509", "-days", "2", "-out", &certificate]);
        return run(&args);
    };
    args.extend(["-new", "-out", &request]);
    run(&args)?;
    let [authority, its_key] = ["crt", "key"].map(|extension| format!("{of}.{extension}"));
    // With an extension it is of version 3: TLS 1.3 knows no other.
    std::fs::write(folder.join("extensions"), "basicConstraints=CA:FALSE\n")?;
    let mut args = vec!["x509", "-req", "-days", "2", "-in", &request, "-CA", &authority, "-CAkey", &its_key];
    args.extend(["-CAcreateserial", "-extfile", "extensions", "-out", &certificate]);
    run(&args)
}
