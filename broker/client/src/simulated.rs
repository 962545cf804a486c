//! What a simulation puts in the place of the network: one for each thread, since a simulation runs in one.

use std::cell::RefCell;
use std::io;

use tokio::io::DuplexStream;

/// Connects to the broker with this host name and port.
pub type Connect = Box<dyn FnMut(&str, u16) -> io::Result<DuplexStream>>;

thread_local! {
    static CONNECT: RefCell<Option<Connect>> = const { RefCell::new(None) };
}

/// Who makes this thread's connections from now on; `None`: the machine.
pub fn connect_by(connect: Option<Connect>) {
    CONNECT.set(connect);
}

pub(crate) fn connect(host: &str, port: u16) -> Option<io::Result<DuplexStream>> {
    CONNECT.with_borrow_mut(|connect| connect.as_mut().map(|connect| connect(host, port)))
}
