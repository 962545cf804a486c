//! The programs that members of chains run, one for each client.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use ottla_history::transactions::Protocol;

use super::job::Job;
use crate::{franz, java};

/// A program that takes the arguments of a [`Job`].
#[derive(Clone, Debug)]
pub struct Program {
    file: OsString,
    /// The arguments before the job's.
    first: Vec<OsString>,
    /// Which protocol of transactions its client speaks with brokers that know both.
    protocol: Protocol,
}

impl Program {
    /// librdkafka's: `chain/main.rs`, which Cargo has built here. It knows the first protocol only.
    pub fn librdkafka(program: &Path) -> Program {
        Program { file: program.into(), first: Vec::new(), protocol: Protocol::V1 }
    }

    /// franz-go's, built into this folder.
    ///
    /// # Errors
    /// When it does not build.
    pub fn franz(folder: &Path) -> Result<Program> {
        Ok(Program { file: franz::build(folder)?.into(), first: vec!["chain".into()], protocol: Protocol::V2 })
    }

    /// Java's, compiled into this folder.
    ///
    /// # Errors
    /// When it can't be compiled.
    pub fn java(folder: &Path) -> Result<Program> {
        let jvm = java::compiled("96m", "Chain", folder)?;
        let first = jvm.get_args().map(Into::into).collect();
        Ok(Program { file: jvm.get_program().into(), first, protocol: Protocol::V2 })
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn command(&self, job: &Job) -> Command {
        let mut command = Command::new(&self.file);
        command.args(&self.first).args(job.arguments());
        command
    }
}
