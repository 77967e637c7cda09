//! Whose address a request comes from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::{Extensions, HeaderMap, request};
use ipnet::IpNet;

use crate::error::Failure;
use crate::state::AppState;

/// The client's address: the socket's, or what a trusted proxy says.
///
/// A request without a socket comes from this process, that is, from this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl FromRequestParts<AppState> for Peer {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut request::Parts,
        state: &AppState,
    ) -> Result<Peer, Failure> {
        Ok(peer_of(&parts.extensions, &parts.headers, state.proxies()))
    }
}

/// Whether a request came through a proxy that is named in the settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Through {
    pub(crate) is_proxy: bool,
}

impl FromRequestParts<AppState> for Through {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut request::Parts,
        state: &AppState,
    ) -> Result<Through, Failure> {
        let socket = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let is_proxy = socket.is_some_and(|ConnectInfo(peer)| {
            let address = peer.ip().to_canonical();
            state.proxies().iter().any(|network| network.contains(&address))
        });
        Ok(Through { is_proxy })
    }
}

/// The client behind a request.
pub(crate) fn peer_of(extensions: &Extensions, headers: &HeaderMap, proxies: &[IpNet]) -> Peer {
    let socket = extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(peer)| peer.ip().to_canonical());
    let is_proxy = |address: &IpAddr| proxies.iter().any(|network| network.contains(address));
    if !is_proxy(&socket) {
        return Peer(socket);
    }
    // Each proxy appends whom it saw, so the list is true from its end up to the first address
    // that is no proxy of ours; what stands before, the client may have made up.
    let mut client = socket;
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        for text in value.to_str().unwrap_or_default().rsplit(',') {
            let Ok(address) = text.trim().parse::<IpAddr>() else { return Peer(client) };
            client = address.to_canonical();
            if !is_proxy(&client) {
                return Peer(client);
            }
        }
    }
    Peer(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(socket: &str, forwarded: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(socket.parse().unwrap(), 1)));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        peer_of(&extensions, &headers, &proxies).0.to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(peer("192.0.2.1", &["127.0.0.1"]), "192.0.2.1");
        assert_eq!(peer("10.0.0.1", &["127.0.0.1, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(peer("10.0.0.1", &["127.0.0.1", "192.0.2.7, 10.0.0.2"]), "192.0.2.7");
        assert_eq!(peer("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(peer("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(peer("::ffff:10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
    }
}
