//! `ExportMetricsServiceRequest` of OTLP 1 as protobuf.

use super::message::{Attributes, Buckets, Kind, Metric, Point, PointExemplar, Resource, Scope};
use crate::model::base64::encode as base64;
use crate::model::protobuf::{Field, Fields, Malformed, push_floats};
use serde_json::{Map, Value};

/// Values within values: no honest sender nests deeper.
const DEPTH_MAX: usize = 16;

/// Walks the fields of a message.
fn each<'a>(message: &'a [u8], mut take: impl FnMut(u64, Field<'a>) -> Result<(), Malformed>) -> Result<(), Malformed> {
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        take(number, field)?;
    }
    Ok(())
}

/// Reads a request.
pub(super) fn read(message: &[u8]) -> Result<Vec<Resource>, Malformed> {
    let mut resources = Vec::new();
    each(message, |number, field| {
        if number == 1 {
            resources.push(resource_metrics(field.bytes()?)?);
        }
        Ok(())
    })?;
    Ok(resources)
}

fn resource_metrics(message: &[u8]) -> Result<Resource, Malformed> {
    let mut found = Resource::default();
    each(message, |number, field| {
        match number {
            1 => {
                each(field.bytes()?, |number, field| match number {
                    1 => attribute(field, &mut found.attributes),
                    _ => Ok(()),
                })?;
            }
            2 => found.scopes.push(scope_metrics(field.bytes()?)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn scope_metrics(message: &[u8]) -> Result<Scope, Malformed> {
    let mut found = Scope::default();
    each(message, |number, field| {
        match number {
            1 => each(field.bytes()?, |number, field| {
                match number {
                    1 => field.text()?.clone_into(&mut found.name),
                    2 => field.text()?.clone_into(&mut found.version),
                    3 => attribute(field, &mut found.attributes)?,
                    _ => {}
                }
                Ok(())
            })?,
            2 => found.metrics.push(metric(field.bytes()?)?),
            3 => field.text()?.clone_into(&mut found.schema_url),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn metric(message: &[u8]) -> Result<Metric, Malformed> {
    let mut found = Metric::default();
    each(message, |number, field| {
        let kind = match number {
            1 => return field.text().map(|text| text.clone_into(&mut found.name)),
            2 => return field.text().map(|text| text.clone_into(&mut found.description)),
            3 => return field.text().map(|text| text.clone_into(&mut found.unit)),
            5 => Kind::Gauge,
            7 => Kind::Sum,
            9 => Kind::Histogram,
            10 => Kind::Exponential,
            11 => Kind::Summary,
            _ => return Ok(()),
        };
        found.kind = kind;
        each(field.bytes()?, |number, field| {
            match number {
                1 => found.points.push(match kind {
                    Kind::Histogram => histogram(field.bytes()?)?,
                    Kind::Exponential => exponential(field.bytes()?)?,
                    Kind::Summary => summary(field.bytes()?)?,
                    _ => number_point(field.bytes()?)?,
                }),
                2 => found.temporality = field.whole()?,
                3 => found.is_monotonic = field.whole()? != 0,
                _ => {}
            }
            Ok(())
        })
    })?;
    Ok(found)
}

fn number_point(message: &[u8]) -> Result<Point, Malformed> {
    let mut found = Point::default();
    each(message, |number, field| {
        match number {
            2 => found.start_ns = field.number(),
            3 => found.time_ns = field.number(),
            4 => found.value = field.double()?,
            5 => found.exemplars.push(exemplar(field.bytes()?)?),
            6 => found.value = field.number().cast_signed() as f64,
            7 => attribute(field, &mut found.attributes)?,
            8 => found.flags = field.number(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn histogram(message: &[u8]) -> Result<Point, Malformed> {
    let mut found = Point::default();
    each(message, |number, field| {
        match number {
            2 => found.start_ns = field.number(),
            3 => found.time_ns = field.number(),
            4 => found.count = field.number(),
            5 => found.sum = Some(field.double()?),
            6 => push_fixed(field, &mut found.counts)?,
            7 => push_floats(field, &mut found.bounds)?,
            8 => found.exemplars.push(exemplar(field.bytes()?)?),
            9 => attribute(field, &mut found.attributes)?,
            10 => found.flags = field.number(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn exponential(message: &[u8]) -> Result<Point, Malformed> {
    let mut found = Point::default();
    each(message, |number, field| {
        match number {
            1 => attribute(field, &mut found.attributes)?,
            2 => found.start_ns = field.number(),
            3 => found.time_ns = field.number(),
            4 => found.count = field.number(),
            5 => found.sum = Some(field.double()?),
            6 => found.scale = field.signed(),
            7 => found.zero_count = field.number(),
            8 => found.positive = buckets(field.bytes()?)?,
            9 => found.negative = buckets(field.bytes()?)?,
            10 => found.flags = field.number(),
            11 => found.exemplars.push(exemplar(field.bytes()?)?),
            14 => found.zero_threshold = field.double()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn buckets(message: &[u8]) -> Result<Buckets, Malformed> {
    let mut found = Buckets::default();
    each(message, |number, field| {
        match (number, field) {
            (1, field) => found.offset = field.signed(),
            (2, Field::Bytes(packed)) => {
                let mut numbers = Fields::new(packed);
                while !numbers.is_empty() {
                    found.counts.push(numbers.varint()?);
                }
            }
            (2, field) => found.counts.push(field.number()),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn summary(message: &[u8]) -> Result<Point, Malformed> {
    let mut found = Point::default();
    each(message, |number, field| {
        match number {
            2 => found.start_ns = field.number(),
            3 => found.time_ns = field.number(),
            4 => found.count = field.number(),
            5 => found.sum = Some(field.double()?),
            6 => {
                let (mut quantile, mut value) = (0.0, 0.0);
                each(field.bytes()?, |number, field| {
                    match number {
                        1 => quantile = field.double()?,
                        2 => value = field.double()?,
                        _ => {}
                    }
                    Ok(())
                })?;
                found.quantiles.push((quantile, value));
            }
            7 => attribute(field, &mut found.attributes)?,
            8 => found.flags = field.number(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn exemplar(message: &[u8]) -> Result<PointExemplar, Malformed> {
    let mut found = PointExemplar::default();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    each(message, |number, field| {
        match number {
            2 => found.time_ns = field.number(),
            3 => found.value = field.double()?,
            4 => found.span_id = hex(field.bytes()?),
            5 => found.trace_id = hex(field.bytes()?),
            6 => found.value = field.number().cast_signed() as f64,
            7 => attribute(field, &mut found.attributes)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// Adds the numbers of eight bytes of a repeated field, packed or single.
fn push_fixed(field: Field<'_>, into: &mut Vec<u64>) -> Result<(), Malformed> {
    let Field::Bytes(packed) = field else {
        into.push(field.number());
        return Ok(());
    };
    let (numbers, rest) = packed.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Malformed("unexpected EOF"));
    }
    into.extend(numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)));
    Ok(())
}

fn attribute(field: Field<'_>, into: &mut Attributes) -> Result<(), Malformed> {
    into.push(key_value(field.bytes()?, 0)?);
    Ok(())
}

fn key_value(message: &[u8], depth: usize) -> Result<(String, Value), Malformed> {
    let (mut key, mut value) = (String::new(), Value::Null);
    each(message, |number, field| {
        match number {
            1 => field.text()?.clone_into(&mut key),
            2 => value = any_value(field.bytes()?, depth)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, value))
}

fn any_value(message: &[u8], depth: usize) -> Result<Value, Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed("a value is nested too deep"));
    }
    let mut found = Value::Null;
    each(message, |number, field| {
        found = match number {
            1 => Value::String(field.text()?.to_owned()),
            2 => Value::Bool(field.number() != 0),
            3 => Value::from(field.number().cast_signed()),
            4 => Value::from(field.double()?),
            5 => {
                let mut values = Vec::new();
                each(field.bytes()?, |number, field| {
                    if number == 1 {
                        values.push(any_value(field.bytes()?, depth + 1)?);
                    }
                    Ok(())
                })?;
                Value::Array(values)
            }
            6 => {
                let mut values = Map::new();
                each(field.bytes()?, |number, field| {
                    if number == 1 {
                        let (key, value) = key_value(field.bytes()?, depth + 1)?;
                        values.insert(key, value);
                    }
                    Ok(())
                })?;
                Value::Object(values)
            }
            7 => Value::String(base64(field.bytes()?)),
            _ => return Ok(()),
        };
        Ok(())
    })?;
    Ok(found)
}
