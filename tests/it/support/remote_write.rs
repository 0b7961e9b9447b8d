//! A sender of Remote-Write 1.0, written against the specification and not against our decoder.

use super::http;

pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn bytes(out: &mut Vec<u8>, field: u8, data: &[u8]) {
    varint(out, u64::from(field) << 3 | 2);
    varint(out, data.len() as u64);
    out.extend_from_slice(data);
}

/// One series: labels sorted by name, samples as (milliseconds, value).
pub(crate) struct Series<'a> {
    pub(crate) labels: Vec<(&'a str, &'a str)>,
    pub(crate) samples: Vec<(i64, f64)>,
}

pub(crate) fn encode(series: &[Series<'_>]) -> Vec<u8> {
    let mut request = Vec::new();
    for one in series {
        let mut body = Vec::new();
        for (name, value) in &one.labels {
            let mut label = Vec::new();
            bytes(&mut label, 1, name.as_bytes());
            bytes(&mut label, 2, value.as_bytes());
            bytes(&mut body, 1, &label);
        }
        for (at_ms, value) in &one.samples {
            let mut sample = vec![1 << 3 | 1];
            sample.extend_from_slice(&value.to_le_bytes());
            sample.push(2 << 3);
            varint(&mut sample, *at_ms as u64);
            bytes(&mut body, 2, &sample);
        }
        bytes(&mut request, 1, &body);
    }
    snap::raw::Encoder::new().compress_vec(&request).unwrap()
}

/// Sends; `Err` where nobody answers, else the status.
pub(crate) fn send(address: &str, series: &[Series<'_>]) -> std::io::Result<http::Answer> {
    let headers = [
        ("Content-Type", "application/x-protobuf"),
        ("Content-Encoding", "snappy"),
        ("X-Prometheus-Remote-Write-Version", "0.1.0"),
    ];
    http::request(address, "POST", "/api/v1/write", &headers, &encode(series))
}
