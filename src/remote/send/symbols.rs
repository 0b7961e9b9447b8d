//! Texts of Remote-Write 2.0: each remote numbers those of its series once; each request numbers again those that it has.

use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Texts by number, for those who write requests.
#[derive(Debug, Default)]
pub(super) struct Texts(RwLock<Vec<Arc<str>>>);

/// Gives texts numbers.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    texts: Arc<Texts>,
    numbers: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
}

impl Symbols {
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(known) = self.numbers.get(text) {
            return *known;
        }
        let (text, number) = (Arc::<str>::from(text), self.numbers.len() as u32);
        self.texts.0.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    pub(super) fn texts(&self) -> Arc<Texts> {
        Arc::clone(&self.texts)
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}

/// The symbols of one request after the other.
#[derive(Debug, Default)]
pub(super) struct RequestSymbols {
    /// Of which texts `places` speaks.
    texts: Option<Arc<Texts>>,
    /// For each number its place in the request; 0: none yet.
    places: Vec<u32>,
    used: Vec<u32>,
    /// Texts that have no number: those of exemplars.
    others: BTreeMap<String, u32>,
    count: u32,
}

impl RequestSymbols {
    /// Begins a request: the first symbol is the empty text.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        self.forget_places();
        self.others.clear();
        self.count = 1;
        put_symbol(out, "");
    }

    fn forget_places(&mut self) {
        for number in self.used.drain(..) {
            if let Some(place) = self.places.get_mut(number as usize) {
                *place = 0;
            }
        }
    }

    /// Appends the places of texts as packed numbers, and to `out` those texts that the request has not yet.
    pub(super) fn put(&mut self, texts: &Arc<Texts>, numbers: &[u32], out: &mut Vec<u8>, mut each: impl FnMut(u32)) {
        if !self.texts.as_ref().is_some_and(|known| Arc::ptr_eq(known, texts)) {
            self.forget_places();
            self.texts = Some(Arc::clone(texts));
        }
        for number in numbers {
            let slot = *number as usize;
            if slot >= self.places.len() {
                self.places.resize(slot + 1, 0);
            }
            let mut place = self.places.get(slot).copied().unwrap_or(0);
            if place == 0 {
                let known = texts.0.read().unwrap_or_else(PoisonError::into_inner);
                let text = known.get(slot).map_or("", AsRef::as_ref);
                if !text.is_empty() {
                    place = self.count;
                    self.count += 1;
                    put_symbol(out, text);
                    self.used.push(*number);
                    if let Some(slot) = self.places.get_mut(slot) {
                        *slot = place;
                    }
                }
            }
            each(place);
        }
    }

    /// Returns the place of a text without a number.
    pub(super) fn other(&mut self, text: &str, out: &mut Vec<u8>) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(known) = self.others.get(text) {
            return *known;
        }
        let place = self.count;
        self.count += 1;
        put_symbol(out, text);
        self.others.insert(text.to_owned(), place);
        place
    }
}

fn put_symbol(out: &mut Vec<u8>, text: &str) {
    crate::model::protobuf::put_bytes(out, 4, text.as_bytes());
}
