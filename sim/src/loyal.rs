//! A client that stays with the coordinator of its group, and asks it only for offsets. A coordinator that is cut off
//! from the cluster and deserted by its followers must send it away: others may have committed newer ones with another.

use std::time::Duration;

use anyhow::{Result, bail};
use ottla_wire::m09_offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla_wire::{Bytes, ErrorCode, decode_response};

use crate::client::{Client, Connection, OFFSET_FETCH, PATIENCE};
use crate::fault::Fault;
use crate::topics::{GROUPS, OFFSETS};
use crate::world::World;

/// How long after it was cut off and deserted a coordinator must have given way: it has missed its Lease, its followers
/// are late, and it has looked at both. What a former follower sent before it left may come in the end, as when a
/// network is whole again; then the coordinator serves once more, until that follower is late too.
const GIVES_WAY: Duration = Duration::from_secs(12);

/// The client.
pub(crate) struct Loyal {
    client: Client<()>,
    /// Since when each broker believes that it coordinates, cut off and deserted, while another leads, and others have
    /// sent it nothing; `None`: it does not.
    deserted: Vec<Option<Duration>>,
}

impl Loyal {
    pub(crate) fn new(brokers: usize) -> Loyal {
        Loyal { client: Client::default(), deserted: vec![None; brokers] }
    }
}

impl World {
    /// Takes note of who is deserted now.
    pub(crate) fn see_deserted(&mut self) {
        let Some(mut loyal) = self.loyal.take() else { return };
        for (at, deserted) in loyal.deserted.iter_mut().enumerate() {
            let since = deserted.unwrap_or(self.now).max(self.network.heard_by(at));
            *deserted = self.is_deserted(at).then_some(since);
        }
        self.loyal = Some(loyal);
    }

    /// A new process of a broker has to find out by itself.
    pub(crate) fn has_started(&mut self, at: usize) {
        if let Some(loyal) = &mut self.loyal {
            loyal.deserted[at] = None;
        }
    }

    fn is_deserted(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let is_cut_off = self.api.away || node.cut_off_from_api;
        // Who hangs looks at nothing.
        let may_know = node.process_runs() && !node.is_hanging(self.now);
        let believes = node.seen(OFFSETS).is_some_and(|entry| entry.leader == Some(node.id));
        let another_leads = self.api.entry(OFFSETS).leader.is_some_and(|leader| leader != node.id);
        let follows = |other: usize| {
            let partition = self.nodes[other].partition(OFFSETS);
            partition.and_then(|partition| partition.follows()).is_some_and(|(leader, _)| leader == node.id)
        };
        is_cut_off && may_know && believes && another_leads && !(0..self.nodes.len()).any(follows)
    }

    /// It asks again where it asked before, as long as it is not sent away.
    pub(crate) fn stay(&mut self) {
        let Some(loyal) = &self.loyal else { return };
        let open = loyal.client.open(&self.network, 2 * PATIENCE, self.now);
        if open.is_some() && loyal.client.asked.is_some() {
            return;
        }
        let Some(connection) = open.or_else(|| self.connect(OFFSETS, None)) else { return };
        let Some(loyal) = &mut self.loyal else { return };
        let groups = vec![OffsetFetchRequestGroup { group_id: GROUPS[0].into(), ..OffsetFetchRequestGroup::default() }];
        let request = OffsetFetchRequest { groups, ..OffsetFetchRequest::default() };
        let bytes = loyal.client.ask(OFFSET_FETCH, &request, (), self.now);
        loyal.client.change_to(connection, &mut self.network);
        self.network.send(connection.number, &bytes);
    }

    /// What has come for it.
    pub(crate) fn hear_the_loyal(&mut self) -> Result<()> {
        if let Some(connection) = self.loyal.as_ref().and_then(|loyal| loyal.client.connection)
            && let Some(frame) = self.network.receive(connection.number)
        {
            self.answered(connection, frame)?;
        }
        Ok(())
    }

    fn answered(&mut self, connection: Connection, frame: Bytes) -> Result<()> {
        let Some(loyal) = &mut self.loyal else { return Ok(()) };
        let Some(asked) = loyal.client.asked.take() else { bail!("an answer to nothing") };
        let deserted = loyal.deserted[connection.to].filter(|since| *since <= asked.at);
        let (_, response) = decode_response::<OffsetFetchRequest>(OFFSET_FETCH, frame)?;
        let Some(group) = response.groups.into_iter().next() else { bail!("no group in an answer") };
        match group.error_code {
            ErrorCode::NONE if deserted.is_some_and(|since| since + GIVES_WAY <= asked.at) => {
                bail!("{} is cut off and deserted for {GIVES_WAY:?}, and still says what is committed", connection.to);
            }
            ErrorCode::NONE => {}
            code => {
                let line = format!("{} sends the loyal client away: {code:?}", connection.to);
                if deserted.is_some() {
                    self.happened(Fault::DesertedCoordinator, line);
                } else {
                    self.note(line);
                }
                if let Some(loyal) = &mut self.loyal
                    && let Some(connection) = loyal.client.connection.take()
                {
                    self.network.give_up(connection.number);
                }
            }
        }
        Ok(())
    }
}
