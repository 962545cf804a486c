//! A way to a server on this machine, through this process, which can be cut and mended.

use anyhow::Result;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A cable; it is whole at first.
pub struct Cable {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    is_gone: bool,
    /// Both ends of each connection, and of some that have ended.
    ends: Vec<TcpStream>,
}

impl State {
    fn cut(&mut self) {
        self.is_cut = true;
        for end in self.ends.drain(..) {
            let _ = end.shutdown(Shutdown::Both); // it may have ended by itself
        }
    }
}

impl Cable {
    /// Lays a cable to the port `to`.
    pub fn lay(to: u16) -> Result<Cable> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let cable = Cable { port: listener.local_addr()?.port(), state: Arc::default() };
        let state = cable.state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                // A server that is not there is to its clients as it would be without a cable: their connection ends.
                let ends = client.map_err(Into::into).and_then(|client| connect(client, to));
                let mut state = lock(&state);
                if state.is_gone {
                    return;
                }
                state.ends.retain(|end| end.peer_addr().is_ok());
                state.ends.extend(ends.into_iter().flatten());
                if state.is_cut {
                    state.cut();
                }
            }
        });
        Ok(cable)
    }

    /// Where clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections, and each new one at once.
    pub fn cut(&self) {
        lock(&self.state).cut();
    }

    /// Lets new connections through.
    pub fn mend(&self) {
        lock(&self.state).is_cut = false;
    }

    /// Whether nothing goes through.
    pub fn is_cut(&self) -> bool {
        lock(&self.state).is_cut
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.cut();
        lock(&self.state).is_gone = true;
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes its thread, which ends
    }
}

/// Carries bytes both ways between a client and the server until either ends. Gives both ends.
fn connect(client: TcpStream, to: u16) -> Result<[TcpStream; 2]> {
    let server = TcpStream::connect(("127.0.0.1", to))?;
    for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server.try_clone()?, client.try_clone()?)] {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to); // however it ends, the other way ends with it
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok([client, server])
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
