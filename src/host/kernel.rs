//! Small kernel files: load, pressure, processes, sockets, identity and time, temperatures.

use super::{Page, Source};
use std::io;

pub(super) fn load(source: &Source<'_>, page: &mut Page) -> io::Result<()> {
    let text = source.read("/proc/loadavg")?;
    for (name, value) in ["node_load1", "node_load5", "node_load15"].iter().zip(text.split(' ')) {
        let value = value.parse().map_err(|_| io::Error::other(format!("/proc/loadavg: {value}")))?;
        page.gauge(name, "Load average over that many minutes.");
        page.sample(&[], value);
    }
    Ok(())
}

pub(super) fn pressure(source: &Source<'_>, page: &mut Page) -> io::Result<()> {
    let files = [("cpu", "waiting", ""), ("io", "waiting", "stalled"), ("memory", "waiting", "stalled")];
    for (resource, some, full) in files {
        let text = source.read(&format!("/proc/pressure/{resource}"))?;
        for (line, what) in text.lines().zip([some, full]) {
            let total = line.split(' ').find_map(|word| word.strip_prefix("total=")?.parse::<f64>().ok());
            if let (Some(microseconds), false) = (total, what.is_empty()) {
                let name = format!("node_pressure_{resource}_{what}_seconds_total");
                page.counter(&name, &format!("Total time in seconds that processes were {what} for {resource}."));
                page.sample(&[], microseconds / 1e6);
            }
        }
    }
    Ok(())
}

pub(super) fn process(source: &Source<'_>, page: &mut Page) -> io::Result<()> {
    let names = source.list("/proc")?;
    let ids: Vec<&String> = names.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())).collect();
    let mut states = std::collections::BTreeMap::new();
    let mut threads = 0.0;
    let mut processes = 0.0;
    for id in ids {
        // A process may end while we look.
        let Ok(text) = source.read(&format!("/proc/{id}/stat")) else { continue };
        let Some((_, rest)) = text.rsplit_once(") ") else { continue };
        let mut words = rest.split(' ');
        *states.entry(words.next().unwrap_or_default().to_owned()).or_insert(0.0) += 1.0;
        threads += words.nth(16).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0);
        processes += 1.0;
    }
    page.gauge("node_processes_state", "Number of processes in each state.");
    for (state, count) in &states {
        page.sample(&[("state", state)], *count);
    }
    page.gauge("node_processes_threads", "Allocated threads in system.");
    page.sample(&[], threads);
    page.gauge("node_processes_pids", "Number of PIDs.");
    page.sample(&[], processes);
    let open = source.read("/proc/sys/fs/file-nr")?;
    let mut words = open.split_ascii_whitespace().map(|word| word.parse::<f64>().unwrap_or(0.0));
    page.gauge("node_filefd_allocated", "File descriptor statistics: allocated.");
    page.sample(&[], words.next().unwrap_or(0.0));
    page.gauge("node_filefd_maximum", "File descriptor statistics: maximum.");
    page.sample(&[], words.nth(1).unwrap_or(0.0));
    Ok(())
}

pub(super) fn sockets(source: &Source<'_>, page: &mut Page) -> io::Result<()> {
    for line in source.read("/proc/net/sockstat")?.lines() {
        let Some((protocol, rest)) = line.split_once(": ") else { continue };
        let words: Vec<&str> = rest.split(' ').collect();
        for pair in words.chunks_exact(2) {
            if let Ok(value) = pair[1].parse() {
                let name = format!("node_sockstat_{protocol}_{}", pair[0]);
                page.gauge(&name, &format!("Number of {protocol} sockets in state {}.", pair[0]));
                page.sample(&[], value);
            }
        }
    }
    // Lines come in pairs: names, then values.
    let text = source.read("/proc/net/snmp")?;
    let lines: Vec<&str> = text.lines().collect();
    let wanted = ["ActiveOpens", "CurrEstab", "InErrs", "InSegs", "OutRsts", "OutSegs", "PassiveOpens", "RetransSegs"];
    for pair in lines.chunks_exact(2) {
        let (Some(names), Some(values)) = (pair[0].strip_prefix("Tcp: "), pair[1].strip_prefix("Tcp: ")) else { continue };
        for (name, value) in names.split(' ').zip(values.split(' ')) {
            if let (true, Ok(value)) = (wanted.contains(&name), value.parse()) {
                page.untyped(&format!("node_netstat_Tcp_{name}"), &format!("Statistic Tcp{name}."));
                page.sample(&[], value);
            }
        }
    }
    Ok(())
}

pub(super) fn system(source: &Source<'_>, page: &mut Page) -> io::Result<()> {
    page.gauge("node_time_seconds", "System time in seconds since epoch (1970).");
    page.sample(&[], source.env.clock.now_ms() as f64 / 1000.0);
    let name = rustix::system::uname();
    let domain = source.read("/proc/sys/kernel/domainname").unwrap_or_default();
    page.gauge("node_uname_info", "Labeled system information as provided by the uname system call.");
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    page.sample(
        &[
            ("domainname", domain.trim()),
            ("machine", &text(name.machine())),
            ("nodename", &text(name.nodename())),
            ("release", &text(name.release())),
            ("sysname", &text(name.sysname())),
            ("version", &text(name.version())),
        ],
        1.0,
    );
    let release = source.read("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        let found = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_default().trim_matches('"').to_owned()
    };
    let keys = [
        ("build_id", "BUILD_ID"),
        ("id", "ID"),
        ("id_like", "ID_LIKE"),
        ("image_id", "IMAGE_ID"),
        ("image_version", "IMAGE_VERSION"),
        ("name", "NAME"),
        ("pretty_name", "PRETTY_NAME"),
        ("variant", "VARIANT"),
        ("variant_id", "VARIANT_ID"),
        ("version", "VERSION"),
        ("version_codename", "VERSION_CODENAME"),
        ("version_id", "VERSION_ID"),
    ];
    let labels: Vec<(&str, String)> = keys.iter().map(|(label, key)| (*label, value(key))).collect();
    let labels: Vec<(&str, &str)> = labels.iter().map(|(label, value)| (*label, value.as_str())).collect();
    page.gauge("node_os_info", "A metric with a constant '1' value labeled by what /etc/os-release says.");
    page.sample(&labels, 1.0);
    Ok(())
}

pub(super) fn thermal(source: &Source<'_>, page: &mut Page) -> io::Result<()> {
    let Ok(zones) = source.list("/sys/class/thermal") else { return Ok(()) };
    let mut begun = false;
    for zone in zones.iter().filter_map(|name| name.strip_prefix("thermal_zone")) {
        let folder = format!("/sys/class/thermal/thermal_zone{zone}");
        // Some sensors answer only while awake.
        let (Ok(kind), Ok(millidegrees)) = (source.read(&format!("{folder}/type")), source.number(&format!("{folder}/temp")))
        else {
            continue;
        };
        if !begun {
            page.gauge("node_thermal_zone_temp", "Zone temperature in Celsius.");
            begun = true;
        }
        page.sample(&[("type", kind.trim()), ("zone", zone)], millidegrees / 1000.0);
    }
    Ok(())
}
