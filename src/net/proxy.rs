//! Whether and how a proxy stands between us and a server.

use std::net::IpAddr;

/// Returns whether `no_proxy` says that `host` is asked directly.
///
/// The list holds, separated by commas: `*`, host names (which stand for their subdomains too), `.suffixes`, addresses and
/// networks (`10.0.0.0/8`), each with an optional `:port`. Loopback is never asked by proxy, as with Go.
#[must_use]
pub fn is_direct(host: &str, port: u16, no_proxy: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no_proxy.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        if let (Some((network, bits)), Some(address)) = (entry.split_once('/'), address) {
            return network.parse().ok().zip(bits.parse().ok()).is_some_and(|(network, bits)| in_network(address, network, bits));
        }
        let name = match entry.rsplit_once(':') {
            Some((name, digits)) if digits.parse::<u16>().is_ok() && !name.contains(':') => {
                if digits.parse() != Ok(port) {
                    return false;
                }
                name
            }
            _ => entry.as_str(),
        };
        match name.strip_prefix('.').or_else(|| name.strip_prefix("*.")) {
            Some(suffix) => host.strip_suffix(suffix).is_some_and(|stem| stem.ends_with('.')),
            None => host == name || host.strip_suffix(name).is_some_and(|stem| stem.ends_with('.')),
        }
    })
}

fn in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let cut = |value: u128, width: u32| value.checked_shr(width.saturating_sub(bits)).unwrap_or(0);
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            cut(u128::from(u32::from(address)), 32) == cut(u128::from(u32::from(network)), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => cut(u128::from(address), 128) == cut(u128::from(network), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_direct;

    #[test]
    fn reads_lists_as_go() {
        let list = "example.org, .only-sub.net,10.0.0.0/8,db:9104,2001:db8::/32";
        for (host, port, direct) in [
            ("example.org", 80, true),
            ("a.example.org", 80, true),
            ("notexample.org", 80, false),
            ("only-sub.net", 80, false),
            ("x.only-sub.net", 80, true),
            ("10.1.2.3", 80, true),
            ("11.1.2.3", 80, false),
            ("db", 9104, true),
            ("db", 9105, false),
            ("[2001:db8::1]", 80, true),
            ("localhost", 80, true),
            ("127.0.0.1", 80, true),
        ] {
            assert_eq!(is_direct(host, port, list), direct, "{host}:{port}");
        }
        assert!(is_direct("any", 1, "*"));
    }
}
