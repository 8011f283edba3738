//! Binds the socket of the HTTP server, before anything else starts: often the address is already in use.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::start_error::StartError;

/// The most connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Listens on `address`. `::` also serves IPv4, whatever the machine's default is; if there is no IPv6,
/// 0.0.0.0 is used.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    listen_by(bind, address).map_err(|source| StartError::Listen { address, source })
}

fn listen_by(
    bind: impl Fn(SocketAddr) -> io::Result<TcpListener>,
    address: SocketAddr,
) -> io::Result<TcpListener> {
    let bound = bind(address);
    match bound {
        Err(error) if is_every_ipv6(address) && has_no_ipv6(&error) => {
            let all = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            tracing::info!(%error, "this machine has no IPv6: listening on {all} instead of {address}");
            bind(all)
        }
        bound => bound,
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if is_every_ipv6(address) { every_address(address)? } else { TcpListener::bind(address)? };
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn every_address(address: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The port may be reused right after its last connections, as with other addresses.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_ipv6_v6only(&socket, false)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn is_every_ipv6(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V6(ip) if ip.is_unspecified())
}

/// The kernel has no IPv6, or it is disabled on every interface.
fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    const EVERY: &str = "[::]:0";

    #[test]
    fn every_address_of_ipv6_serves_ipv4_too() {
        let socket = listen(EVERY.parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    }

    #[test]
    fn without_ipv6_it_is_every_address_of_ipv4() {
        for missing in [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL] {
            let without = |address: SocketAddr| match address {
                SocketAddr::V6(_) => Err(missing.into()),
                SocketAddr::V4(_) => bind(address),
            };
            let socket = listen_by(without, EVERY.parse().unwrap()).unwrap();
            let address = socket.local_addr().unwrap();
            assert!(address.ip() == Ipv4Addr::UNSPECIFIED && address.port() != 0, "{address}");
        }
    }

    #[test]
    fn an_address_in_use_is_no_lack_of_ipv6_and_a_single_address_is_never_exchanged() {
        let in_use = |_| Err(Errno::ADDRINUSE.into());
        assert!(listen_by(in_use, EVERY.parse().unwrap()).is_err());
        let without = |address: SocketAddr| match address {
            SocketAddr::V6(_) => Err(Errno::AFNOSUPPORT.into()),
            SocketAddr::V4(_) => bind(address),
        };
        assert!(listen_by(without, "[::1]:0".parse().unwrap()).is_err());
    }
}
