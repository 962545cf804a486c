//! The image's file system, for each kind of machine.

use std::fs::{Permissions, create_dir_all, read_to_string, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

/// `image-root` on a machine that says of itself what this one is not.
fn lay_out(machine: &str, ldconfig: &str, loader: &str) -> Result<()> {
    let bed = tempfile::tempdir()?;
    let at = |name: &str| bed.path().join(name).display().to_string();
    for folder in ["bin", "lib"] {
        create_dir_all(at(folder))?;
    }
    let other = if machine == "aarch64" { "x86-64" } else { "AArch64" };
    let mut cache = String::new();
    for (of, place) in [(ldconfig, "lib"), (other, "other")] {
        for library in ["libresolv", "libnss_files", "libnss_dns"] {
            cache += &format!("\t{library}.so.2 (libc6,{of}) => {}/{library}.so.2\n", at(place));
        }
    }
    let libraries = ["libresolv.so.2", "libnss_files.so.2", "libnss_dns.so.2", "libc.so.6", loader];
    libraries.iter().try_for_each(|library| write(at(&format!("lib/{library}")), *library))?;
    write(at("program"), "the program")?;
    let lib = at("lib");
    let programs = [
        ("uname", format!("echo {machine}")),
        ("ldconfig", format!("cat <<'END'\n{cache}END")),
        ("ldd", format!("echo '\tlibc.so.6 => {lib}/libc.so.6 (0x1)'; echo '\t{lib}/{loader} (0x2)'")),
        ("strip", String::new()),
    ];
    for (name, body) in programs {
        let path = at(&format!("bin/{name}"));
        write(&path, format!("#!/bin/sh\n{body}\n"))?;
        set_permissions(path, Permissions::from_mode(0o755))?;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/image-root");
    let path = format!("{}:{}", at("bin"), std::env::var("PATH")?);
    let made = Command::new(script).args([&at("program"), "ottla", &at("image")]).env("PATH", path).output()?;
    ensure!(made.status.success(), "{machine}: {}", String::from_utf8_lossy(&made.stderr));
    ensure!(read_to_string(at("image/usr/local/bin/ottla"))? == "the program");
    for library in libraries {
        let installed = format!("{}{lib}/{library}", at("image"));
        ensure!(read_to_string(&installed).is_ok_and(|text| text == library), "{machine} has no {library}");
    }
    ensure!(!Path::new(&format!("{}{}", at("image"), at("other"))).exists(), "{machine} has another's libraries");
    Ok(())
}

#[test]
fn an_image_has_the_libraries_of_its_machine() -> Result<()> {
    lay_out("x86_64", "x86-64", "ld-linux-x86-64.so.2")?;
    lay_out("aarch64", "AArch64", "ld-linux-aarch64.so.1")
}

#[test]
fn there_is_no_image_for_a_machine_of_another_kind() -> Result<()> {
    let refused = lay_out("riscv64", "RISCV", "ld-linux-riscv64.so.1");
    ensure!(refused.is_err_and(|error| error.to_string().contains("no image for riscv64")));
    Ok(())
}
