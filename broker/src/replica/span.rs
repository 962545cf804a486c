//! Whose a log line is.
//!
//! The span is entered where a role changes, a log opens or is mended, and where upkeep runs; on the way of records
//! only where something is wrong, because a span costs more than an append.

use tracing::Span;

const NAME: &str = "partition";

/// The span of the log lines about a partition; none inside of one, so that a line names its partition once.
pub(super) fn span_of(topic: &str, number: i32) -> Span {
    if Span::current().metadata().is_some_and(|metadata| metadata.name() == NAME) {
        return Span::none();
    }
    // Of the level of errors, so that it is there whatever the lines' level.
    tracing::error_span!(NAME, %topic, number)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// Where the lines of a test go.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_names_its_partition_once() {
        let lines = Lines::default();
        let out = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || out.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            let _outer = span_of("flights", 3).entered();
            let _inner = span_of("flights", 3).entered();
            tracing::error!("taken offline");
        });
        let line = String::from_utf8(lines.0.lock().clone()).unwrap();
        assert_eq!(line.matches("partition{topic=flights number=3}").count(), 1, "{line}");
    }
}
