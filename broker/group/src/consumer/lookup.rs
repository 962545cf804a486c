//! Which topics the regular expressions of a group stand for. The host looks that up, off the shard's lock, for names
//! that the member may see; here is when it is to do so, and what comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::consumer::group::{ConsumerGroup, Member};
use crate::effects::{Asker, Lookup};
use crate::ids::{MemberId, TopicName};
use crate::patterns::Pattern;
use crate::record::{ConsumerRecord, PatternValue};
use crate::request::ConsumerHeartbeatRequest;
use crate::topics::Topics;
use crate::turn::Turn;

/// Expressions are looked up no more often than this. Kafka's.
const SHORTEST_INTERVAL_MS: i64 = 10_000;
/// A host that has not answered by then has lost the question.
const LONGEST_LOOKUP: Duration = Duration::from_secs(60);

/// What the expressions of a [`Lookup`] stand for.
pub type ResolvedExpressions = BTreeMap<String, BTreeSet<TopicName>>;

impl Lookup {
    /// Looks the expressions up among the topics that `may_see` allows. May take long: every name is held against every
    /// expression.
    pub fn find(&self, topics: &Topics, may_see: impl Fn(&TopicName) -> bool) -> ResolvedExpressions {
        let patterns: Vec<(&String, Pattern)> =
            self.patterns.iter().filter_map(|text| Some((text, Pattern::new(text).ok()?))).collect();
        let mut found: ResolvedExpressions = self.patterns.iter().map(|text| (text.clone(), BTreeSet::new())).collect();
        for name in topics.names() {
            let matching: Vec<_> = patterns.iter().filter(|(_, pattern)| pattern.matches(name)).collect();
            if matching.is_empty() || !may_see(name) {
                continue;
            }
            for (text, _) in matching {
                if let Some(names) = found.get_mut(*text) {
                    names.insert(name.clone());
                }
            }
        }
        found
    }
}

impl ConsumerGroup {
    /// A member subscribes to another expression, or to none: whether what it subscribes to is known already.
    pub(crate) fn pattern_changed(&mut self, before: &Member, id: &MemberId) -> bool {
        if let Some(old) = before.pattern()
            && self.subscribers(old) == 0
            && self.patterns.contains_key(old)
        {
            self.write(ConsumerRecord::Pattern(old.to_owned(), None));
        }
        match self.members.get(id).and_then(Member::pattern) {
            Some(new) => self.patterns.contains_key(new),
            None => before.pattern().is_some(),
        }
    }

    /// Asks the host to look expressions up: if one is unknown, if there are new topics, or if it is long ago. All at
    /// once, so that the group rebalances once.
    pub(crate) fn look_up_patterns(&mut self, request: &ConsumerHeartbeatRequest, turn: &mut Turn<'_>) {
        let patterns: BTreeSet<&str> = self.members.values().filter_map(Member::pattern).collect();
        if patterns.is_empty() {
            return;
        }
        let is_under_way = |since: Duration| turn.now.monotonic.saturating_sub(since) < LONGEST_LOOKUP;
        let last_ms = self.patterns.values().map(|resolved| resolved.resolved_ms).max();
        let age_ms = last_ms.map(|last_ms| turn.now.age_ms(last_ms));
        if self.looking_up_since.is_some_and(is_under_way) || age_ms.is_some_and(|age| age <= SHORTEST_INTERVAL_MS) {
            return;
        }
        let longest_ms = i64::try_from(turn.config.consumer_pattern_refresh.as_millis()).unwrap_or(i64::MAX);
        let is_old = age_ms.is_some_and(|age| age > longest_ms);
        let has_new_names = self.looked_up_names.is_none_or(|seen| seen < turn.topics.names_version());
        if is_old || has_new_names || patterns.iter().any(|pattern| !self.patterns.contains_key(*pattern)) {
            self.looking_up_since = Some(turn.now.monotonic);
            turn.lookups.push(Lookup {
                group: self.id.clone(),
                asker: Asker { principal: request.principal.clone(), host: request.client_host.clone() },
                patterns: patterns.into_iter().map(str::to_owned).collect(),
                topics: Arc::clone(turn.topics),
            });
        }
    }

    /// The host has looked expressions up, or could not. An expression that stands for more names than a record can
    /// hold keeps its former names until the next lookup. Nothing reports that: this crate does not log.
    pub(crate) fn looked_up(&mut self, topics: &Topics, found: Option<ResolvedExpressions>, turn: &mut Turn<'_>) {
        self.looking_up_since = None;
        let Some(found) = found else { return };
        self.looked_up_names = Some(topics.names_version());
        let mut has_changed = false;
        for (pattern, names) in found {
            if self.subscribers(&pattern) == 0 {
                continue;
            }
            let version = i64::try_from(topics.version()).unwrap_or(i64::MAX);
            let record = |names: &BTreeSet<TopicName>| {
                let value = PatternValue { topics: names.clone(), version, resolved_ms: turn.now.wall_ms };
                ConsumerRecord::Pattern(pattern.clone(), Some(value))
            };
            let known = self.patterns.get(&pattern).map(|known| known.topics.clone()).unwrap_or_default();
            let is_accepted = turn.check_size(&self.record(record(&names))).is_ok();
            let names = if is_accepted { names } else { known.clone() };
            has_changed |= names != known;
            self.write(record(&names));
        }
        if has_changed || self.topics_differ(turn.topics) {
            self.bump(turn.topics);
        }
    }
}
