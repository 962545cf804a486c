//! "Every address" on machines with IPv4, with IPv6, and with both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// Where to listen for `address`. `0.0.0.0` means every address: `[::]`, which on Linux takes IPv4's connections too,
/// unless the machine has no IPv6. An address that was chosen stays.
pub fn everywhere(address: SocketAddr) -> SocketAddr {
    if address.ip() != IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        return address;
    }
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    if TcpListener::bind(any).is_ok() { SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port())) } else { address }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_takes_connections_of_both_kinds_and_a_chosen_one_stays() {
        for chosen in ["127.0.0.1:9092", "10.0.0.7:1", "[::1]:9092", "[::]:9092"] {
            let chosen: SocketAddr = chosen.parse().unwrap();
            assert_eq!(everywhere(chosen), chosen);
        }
        let socket = TcpListener::bind(everywhere("0.0.0.0:0".parse().unwrap())).unwrap();
        let port = socket.local_addr().unwrap().port();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        if TcpListener::bind("[::1]:0").is_ok() {
            std::net::TcpStream::connect(("::1", port)).unwrap();
        }
    }
}
