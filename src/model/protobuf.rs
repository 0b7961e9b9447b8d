//! Protobuf's wire format, read by hand on borrowed bytes: field by field, nothing copied; and written.
//!
//! It knows no message: who reads one names its fields. An unknown field is passed over by whoever walks.

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    /// A whole number.
    Varint(u64),
    /// Eight bytes, little endian.
    Fixed64(u64),
    /// A string, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
    /// Four bytes, little endian.
    Fixed32(u32),
}

impl<'a> Field<'a> {
    /// Returns a whole number however it was written; 0 for bytes.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::Varint(value) | Self::Fixed64(value) => value,
            Self::Fixed32(value) => u64::from(value),
            Self::Bytes(_) => 0,
        }
    }

    /// Returns a double; 0 for what is none.
    #[must_use]
    pub fn float(self) -> f64 {
        match self {
            Self::Fixed64(bits) => f64::from_bits(bits),
            Self::Varint(_) | Self::Fixed32(_) | Self::Bytes(_) => 0.0,
        }
    }

    /// Returns a number in zigzag form.
    #[must_use]
    pub fn signed(self) -> i64 {
        zigzag(self.number())
    }

    /// Returns a whole number.
    ///
    /// # Errors
    /// When the field is no varint.
    pub const fn whole(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(value) => Ok(value),
            Self::Bytes(_) | Self::Fixed64(_) | Self::Fixed32(_) => Err(WRONG_TYPE),
        }
    }

    /// Returns a double.
    ///
    /// # Errors
    /// When the field is none.
    pub const fn double(self) -> Result<f64, Malformed> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            Self::Bytes(_) | Self::Varint(_) | Self::Fixed32(_) => Err(WRONG_TYPE),
        }
    }

    /// Returns the bytes of a string, of a message or of packed numbers.
    ///
    /// # Errors
    /// When the field is a number.
    pub const fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed64(_) | Self::Fixed32(_) => Err(WRONG_TYPE),
        }
    }

    /// Returns a string.
    ///
    /// # Errors
    /// When the field is a number, or no UTF-8.
    pub fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("a string is not UTF-8"))
    }
}

const WRONG_TYPE: Malformed = Malformed("a field has the wrong type");

/// Decodes the zigzag form of a signed number.
#[must_use]
pub const fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// What was wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(#[doc = "In words."] pub &'static str);

/// Walks the fields of a message.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Starts at the front of a message.
    #[must_use]
    pub const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Returns whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed("unexpected EOF"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads a message with its length in front of it.
    ///
    /// # Errors
    /// When the bytes end before.
    pub fn delimited(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed("a length is too large"))?;
        self.take(length)
    }

    /// Returns how many bytes are left.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// Returns what was read of the message that this walks.
    #[must_use]
    pub fn read_of(&self, message: &'a [u8]) -> &'a [u8] {
        message.get(..message.len() - self.rest.len()).unwrap_or_default()
    }

    /// Passes over the labels (field 1) at the front of a series, without a look at them.
    ///
    /// # Errors
    /// When the bytes end within.
    pub fn skip_labels(&mut self) -> Result<(), Malformed> {
        while let Some((0x0a, rest)) = self.rest.split_first() {
            self.rest = rest;
            self.delimited()?;
        }
        Ok(())
    }

    /// Reads a bare number.
    ///
    /// # Errors
    /// When the bytes end within, or where it has more than 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        if let Some((byte, rest)) = self.rest.split_first()
            && *byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Malformed("unexpected EOF"))?;
            self.rest = rest;
            if shift == 63 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("integer overflow"))
    }

    /// Returns the next field with its number, `None` at the end.
    ///
    /// # Errors
    /// When the bytes end within, or are no field.
    #[expect(clippy::should_implement_trait, reason = "a message that is broken ends with an error, not with an item")]
    pub fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().unwrap_or_default())),
            2 => Field::Bytes(self.delimited()?),
            5 => Field::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().unwrap_or_default())),
            _ => return Err(Malformed("illegal wireType")),
        };
        if key >> 3 == 0 {
            return Err(Malformed("illegal tag 0"));
        }
        Ok(Some((key >> 3, field)))
    }
}

/// Adds the numbers of a repeated field, packed or single, in zigzag form.
///
/// # Errors
/// When the bytes end within a number.
pub fn push_signed(field: Field<'_>, into: &mut Vec<i64>) -> Result<(), Malformed> {
    if let Field::Bytes(packed) = field {
        let mut numbers = Fields::new(packed);
        while !numbers.rest.is_empty() {
            into.push(zigzag(numbers.varint()?));
        }
    } else {
        into.push(field.signed());
    }
    Ok(())
}

/// Adds the floats of a repeated field, packed or single.
///
/// # Errors
/// When the bytes end within one.
pub fn push_floats(field: Field<'_>, into: &mut Vec<f64>) -> Result<(), Malformed> {
    if let Field::Bytes(packed) = field {
        let chunks = packed.chunks_exact(8);
        if !chunks.remainder().is_empty() {
            return Err(Malformed("unexpected EOF"));
        }
        into.extend(chunks.map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap_or_default())));
    } else {
        into.push(field.float());
    }
    Ok(())
}

/// Writes a bare number.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a field that is a whole number.
pub fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

/// Writes a field that is a number in zigzag form.
pub fn put_signed(out: &mut Vec<u8>, field: u64, value: i64) {
    put_number(out, field, (value << 1 ^ value >> 63) as u64);
}

/// Writes a field that is a double.
pub fn put_float(out: &mut Vec<u8>, field: u64, value: f64) {
    put_varint(out, field << 3 | 1);
    out.extend(value.to_le_bytes());
}

/// Writes a field that is a string, bytes or a message.
pub fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
