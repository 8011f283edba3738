//! IP networks and single addresses: `10.0.0.0/8`, `192.0.2.7`, `fd00::/8`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::value::Value;

/// Items are trimmed; empty ones are dropped.
impl Value for Vec<IpNet> {
    const EXPECTED: &'static str = "a list of IP addresses or networks, such as `127.0.0.1` or `10.0.0.0/8`";

    fn from_text(text: &str) -> Option<Self> {
        let network = |item: &str| item.parse().ok().or_else(|| item.parse::<IpAddr>().ok().map(IpNet::from));
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(network).collect()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        let items = value.as_array()?.iter().map(toml::Value::as_str).collect::<Option<Vec<&str>>>()?;
        Self::from_text(&items.join(","))
    }

    fn show(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    fn stand_in() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_are_read_and_anything_else_is_refused() {
        let read = Vec::<IpNet>::from_text("10.0.0.0/8, 192.0.2.7,::1,").unwrap();
        assert_eq!(read.show(), "10.0.0.0/8,192.0.2.7/32,::1/128");
        for wrong in ["10.0.0.0/33", "proxy", "10.0.0"] {
            assert!(Vec::<IpNet>::from_text(wrong).is_none(), "{wrong}");
        }
    }
}
