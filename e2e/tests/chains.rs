//! Chains of read-process-write jobs whose members and brokers are killed and frozen: each record comes out once, and
//! in order, with each client and each kind of group. `ottla_e2e::chain::play` names the variables that make them
//! longer, or play a seed again.

use anyhow::Result;
use ottla_e2e::chain::Program;
use ottla_e2e::chain::job::Group;
use ottla_e2e::chain::play::{Brokers, SESSIONS, play};
use ottla_e2e::need::{Need, met};
use ottla_e2e::target::{Maker, needs, ottla_program};
use ottla_e2e::trio::{BROKERS, Trio};
use rustix::process::Signal;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A client's chains, one for each kind of group.
macro_rules! chains {
    ($client:ident, $needs:expr, $program:expr) => {
        mod $client {
            use super::*;

            #[test]
            fn a_chain_of_classic_groups_passes_each_record_on_once() -> Result<()> {
                chain("classic groups", Group::Eager, false)
            }

            #[test]
            fn a_chain_of_cooperative_groups_passes_each_record_on_once() -> Result<()> {
                chain("cooperative groups", Group::Cooperative, false)
            }

            #[test]
            fn a_chain_of_static_members_passes_each_record_on_once() -> Result<()> {
                chain("static members", Group::Eager, true)
            }

            #[test]
            fn a_chain_of_consumer_groups_passes_each_record_on_once() -> Result<()> {
                chain("consumer groups", Group::Consumer, false)
            }

            #[test]
            fn a_chain_of_static_consumers_passes_each_record_on_once() -> Result<()> {
                chain("static consumers", Group::Consumer, true)
            }

            fn chain(name: &str, group: Group, is_static: bool) -> Result<()> {
                if !met(&needs()) || !met($needs) {
                    return Ok(());
                }
                let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
                let folder = tempfile::tempdir()?;
                let program: fn(&Path) -> Result<Program> = $program;
                let program = program(folder.path())?;
                let trio = Trio::start_with(Maker::under_test(), &ottla_program()?, SESSIONS)?;
                let mut brokers = Processes { trio, topics: Vec::new() };
                let name = format!("chain, {name} of {}", stringify!($client));
                play(&name, &mut brokers, program, group, is_static)
            }
        }
    };
}

chains!(librdkafka, &[], |_| Ok(Program::librdkafka(Path::new(env!("CARGO_BIN_EXE_chain-member")))));
chains!(franz_go, &[Need::Go], Program::franz);
chains!(java, &[Need::Java], Program::java);

/// The next broker is harmed when the chain's topics are whole, whatever the coordinators' topics are.
struct Processes {
    trio: Trio,
    topics: Vec<String>,
}

impl Brokers for Processes {
    const COUNT: u16 = BROKERS;

    fn create_topic(&mut self, name: &str, partitions: u32) -> Result<()> {
        self.topics.push(name.to_owned());
        self.trio.create_topic(name, i32::try_from(partitions)?, &[])
    }

    fn bootstrap(&self) -> Result<String> {
        Ok(self.trio.bootstrap())
    }

    fn kill(&mut self, broker: u16) -> Result<()> {
        self.trio.end_broker(broker, Signal::KILL)?;
        self.trio.start_broker(broker)
    }

    fn freeze(&mut self, broker: u16, meanwhile: fn() -> Result<()>) -> Result<()> {
        self.trio.freeze(broker)?;
        meanwhile()?;
        self.trio.thaw(broker)
    }

    fn wait_until_whole(&self) -> Result<()> {
        self.topics.iter().try_for_each(|topic| self.trio.wait_until_whole(topic))
    }

    fn save_logs(&self, to: &Path) -> Result<()> {
        self.trio.save_logs(to)
    }
}
