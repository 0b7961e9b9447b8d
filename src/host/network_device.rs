//! Network devices: traffic from `/proc/net/dev`, state from `/sys/class/net`.

use super::{Page, Source};
use std::io;

const FIELDS: [(&str, &str); 16] = [
    ("receive_bytes", "bytes"),
    ("receive_packets", "packets"),
    ("receive_errs", "errors"),
    ("receive_drop", "drops"),
    ("receive_fifo", "fifo errors"),
    ("receive_frame", "frame errors"),
    ("receive_compressed", "compressed packets"),
    ("receive_multicast", "multicast packets"),
    ("transmit_bytes", "bytes"),
    ("transmit_packets", "packets"),
    ("transmit_errs", "errors"),
    ("transmit_drop", "drops"),
    ("transmit_fifo", "fifo errors"),
    ("transmit_colls", "collisions"),
    ("transmit_carrier", "carrier errors"),
    ("transmit_compressed", "compressed packets"),
];

pub(super) fn collect(source: &Source<'_>, page: &mut Page) -> io::Result<()> {
    let text = source.read("/proc/net/dev")?;
    let devices: Vec<(&str, Vec<f64>)> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(device, rest)| (device.trim(), rest.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect()))
        .collect();
    for (place, (field, what)) in FIELDS.iter().enumerate() {
        page.counter(&format!("node_network_{field}_total"), &format!("Network device statistic {field}: {what}."));
        for (device, numbers) in &devices {
            if let Some(value) = numbers.get(place) {
                page.sample(&[("device", device)], *value);
            }
        }
    }
    let names = source.list("/sys/class/net")?;
    let read = |device: &str, file: &str| source.read(&format!("/sys/class/net/{device}/{file}"));
    page.gauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.");
    for device in &names {
        if let Ok(state) = read(device, "operstate") {
            page.sample(&[("device", device)], f64::from(u8::from(state.trim() == "up")));
        }
    }
    let numbers = [
        ("node_network_mtu_bytes", "mtu", 1.0),
        ("node_network_carrier", "carrier", 1.0),
        ("node_network_transmit_queue_length", "tx_queue_len", 1.0),
        // Megabits a second.
        ("node_network_speed_bytes", "speed", 125_000.0),
    ];
    for (name, file, scale) in numbers {
        page.gauge(name, &format!("Network device property: {file}."));
        for device in &names {
            let value = read(device, file).ok().and_then(|text| text.trim().parse::<f64>().ok());
            if let Some(value) = value {
                page.sample(&[("device", device)], value * scale);
            }
        }
    }
    Ok(())
}
