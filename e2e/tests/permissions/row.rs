//! A request and how its answer is read.

use std::fmt::Debug;

use anyhow::{Context, Result};
use ottla_e2e::raw::Connection;
use ottla_wire::RequestMessage;

use crate::bed::{Bed, Me};

/// What a principal is answered; `None`: the broker closed the connection.
type Ask = Box<dyn Fn(&mut Connection, &Me) -> Result<Option<String>>>;

/// A request and how its answer is read.
pub struct Row {
    pub title: String,
    pub ask: Ask,
}

pub fn latest<R: RequestMessage<Response: Debug> + 'static>(note: &str, request: impl Fn(&Me) -> R + 'static) -> Row {
    row(note, *R::KEY.versions().end(), request, |_, _| {})
}

pub fn at<R: RequestMessage<Response: Debug> + 'static>(
    version: i16,
    note: &str,
    request: impl Fn(&Me) -> R + 'static,
) -> Row {
    row(note, version, request, |_, _| {})
}

pub fn tidied<R: RequestMessage<Response: Debug> + 'static>(
    note: &str,
    request: impl Fn(&Me) -> R + 'static,
    tidy: impl Fn(&Me, &mut R::Response) + 'static,
) -> Row {
    row(note, *R::KEY.versions().end(), request, tidy)
}

pub fn row<R: RequestMessage<Response: Debug> + 'static>(
    note: &str,
    version: i16,
    request: impl Fn(&Me) -> R + 'static,
    tidy: impl Fn(&Me, &mut R::Response) + 'static,
) -> Row {
    let title = format!("{:?} {version}: {note}", R::KEY);
    let context = title.clone();
    let ask = move |connection: &mut Connection, me: &Me| {
        let answer = connection.ask(version, &request(me)).with_context(|| format!("{context} by {}", me.name))?;
        Ok(answer.map(|mut answer| {
            tidy(me, &mut answer);
            format!("{answer:?}")
        }))
    };
    Row { title, ask: Box::new(ask) }
}

impl Row {
    /// Asked when the administrator has prepared this for the principal.
    pub fn after(self, prepare: impl Fn(&mut Connection, &Me) -> Result<()> + 'static) -> Row {
        let Row { title, ask } = self;
        let context = title.clone();
        let ask: Ask = Box::new(move |connection, me| {
            let before = || format!("before {context} by {}", me.name);
            prepare(&mut Bed::running()?.admin()?, me).with_context(before)?;
            ask(connection, me)
        });
        Row { title, ask }
    }

    /// Of a long answer, only which errors it has.
    pub fn only_whether(self) -> Row {
        self.only(r"\b[A-Z]+_[A-Z_]+\b")
    }

    /// The same, and which members of a group it names.
    pub fn only_errors_and_members(self) -> Row {
        self.only(r#"\b[A-Z]+_[A-Z_]+\b|member_id: "[^"]*""#)
    }

    fn only(self, what: &str) -> Row {
        let Row { title, ask } = self;
        let what = regex::Regex::new(what).expect("a regular expression");
        let ask: Ask = Box::new(move |connection, me| {
            let answer = ask(connection, me)?;
            Ok(answer.map(|answer| {
                let found: Vec<&str> = what.find_iter(&answer).map(|found| found.as_str()).collect();
                if found.is_empty() { "no error".to_owned() } else { found.join(", ") }
            }))
        });
        Row { title, ask }
    }

    /// Where the principal's own name stands in the answer.
    pub fn without_own_name(self) -> Row {
        let Row { title, ask } = self;
        let ask: Ask = Box::new(move |connection, me| {
            Ok(ask(connection, me)?.map(|answer| answer.replace(&format!("{:?}", me.name), "\"ME\"")))
        });
        Row { title, ask }
    }
}
