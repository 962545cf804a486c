//! The program in `go/`, which is franz-go.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

/// Builds it into this folder, which takes long only the first time.
pub fn build(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("franz");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
    let built = Command::new("go").args(["build", "-o"]).arg(&program).arg(".").current_dir(source).output()?;
    ensure!(built.status.success(), "franz-go's program does not build: {}", String::from_utf8_lossy(&built.stderr));
    Ok(program)
}
