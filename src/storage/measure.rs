//! What `benches/` measures of pages without a store around them. Nothing of the program uses it.

use super::block::page::{Page, PageBuilder, read_page};
use super::column::encode::{Coding, encode};
use super::column::packed::Decoded;
use super::select::join::PieceValues;

/// Pages of columns, read and unpacked, as the page cache holds them.
#[derive(Debug)]
pub struct Pages {
    pages: Vec<(Page, Vec<u32>)>,
    stored_bytes: usize,
}

impl Pages {
    /// Encodes columns one after the other, as blocks that are kept do (`dense`) or as fresh ones.
    #[must_use]
    pub fn encode(columns: &[&[f64]], dense: bool) -> Option<Self> {
        let coding = if dense { Coding::Dense } else { Coding::Packed };
        let (mut builder, mut rows, mut pages, mut stored_bytes) = (PageBuilder::default(), Vec::new(), Vec::new(), 0);
        for (number, column) in columns.iter().enumerate() {
            builder.push(encode(column, coding));
            rows.push(column.len() as u32);
            if builder.is_full() || number + 1 == columns.len() {
                let mut bytes = Vec::new();
                builder.finish(dense, &mut bytes);
                stored_bytes += bytes.len();
                pages.push((read_page(&bytes).ok()?, std::mem::take(&mut rows)));
            }
        }
        Some(Self { pages, stored_bytes })
    }

    /// Returns the bytes of all pages on disk.
    #[must_use]
    pub const fn stored_bytes(&self) -> usize {
        self.stored_bytes
    }

    /// Decodes every column into floats and gives each to `sink`. `None` where a page is damaged.
    pub fn decode(&self, mut sink: impl FnMut(&[f64])) -> Option<()> {
        let mut buffer = Vec::new();
        for (page, rows) in &self.pages {
            for (place, rows) in rows.iter().enumerate() {
                let rows = *rows as usize;
                let Decoded::Floats(values) = page.head(place as u16)?.decode(page.payloads(), rows)? else { return None };
                match values {
                    PieceValues::Floats(values) => sink(&values),
                    PieceValues::Constant(value) => {
                        buffer.clear();
                        buffer.resize(rows, value);
                        sink(&buffer);
                    }
                    PieceValues::Linear { first, step } => {
                        buffer.clear();
                        buffer.extend((0..rows).map(|i| first + step * i as f64));
                        sink(&buffer);
                    }
                }
            }
        }
        Some(())
    }
}
