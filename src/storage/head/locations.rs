//! Where in the head a series' samples lie: group and column. Most series have one place for life.

use crate::storage::append::SeriesId;
use hashbrown::HashMap;
use smallvec::SmallVec;

/// A group and, as a hint, the column in its generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// Number of the group.
    pub(crate) group: u32,
    /// Where the column probably is.
    pub(crate) column: u32,
}

const NOWHERE: Location = Location { group: u32::MAX, column: 0 };

/// The places of all series.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    newest: Vec<Location>,
    /// Earlier places of series that moved.
    earlier: HashMap<u32, SmallVec<[Location; 2]>, foldhash::fast::RandomState>,
}

impl Locations {
    /// Returns where a series' newest samples are.
    pub(crate) fn newest(&self, series: SeriesId) -> Option<Location> {
        self.newest.get(series.0 as usize).copied().filter(|place| *place != NOWHERE)
    }

    /// Returns all places of a series.
    pub(crate) fn all(&self, series: SeriesId) -> SmallVec<[Location; 2]> {
        let mut places: SmallVec<[Location; 2]> = self.newest(series).into_iter().collect();
        if !self.earlier.is_empty()
            && let Some(earlier) = self.earlier.get(&series.0)
        {
            places.extend_from_slice(earlier);
        }
        places
    }

    /// Sets where a series' newest samples go; an earlier place in another group is remembered.
    pub(crate) fn set(&mut self, series: SeriesId, place: Location) {
        let at = series.0 as usize;
        if at >= self.newest.len() {
            if at >= self.newest.capacity() {
                let step = if at < 4096 { at } else { at / 8 };
                self.newest.reserve_exact(at - self.newest.len() + 1 + step);
            }
            self.newest.resize(at + 1, NOWHERE);
        }
        let before = std::mem::replace(&mut self.newest[at], place);
        if before != NOWHERE && before.group != place.group {
            let earlier = self.earlier.entry(series.0).or_default();
            earlier.retain(|known| known.group != place.group && known.group != before.group);
            earlier.push(before);
        }
    }

    /// Returns all earlier places.
    pub(crate) fn earlier(&self) -> Vec<(SeriesId, Location)> {
        let each = |(series, places): (&u32, &SmallVec<[Location; 2]>)| {
            let series = SeriesId(*series);
            places.iter().map(move |place| (series, *place)).collect::<SmallVec<[_; 2]>>()
        };
        self.earlier.iter().flat_map(each).collect()
    }

    /// Forgets earlier places.
    pub(crate) fn forget_earlier(&mut self, gone: &[(SeriesId, Location)]) {
        for (series, gone) in gone {
            if let Some(places) = self.earlier.get_mut(&series.0) {
                places.retain(|place| place != gone);
                if places.is_empty() {
                    self.earlier.remove(&series.0);
                }
            }
        }
    }

    /// Returns the bytes of memory held, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.newest.capacity() * size_of::<Location>() + self.earlier.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_where_a_series_was() {
        let mut locations = Locations::default();
        let place = |group, column| Location { group, column };
        locations.set(SeriesId(5), place(1, 2));
        locations.set(SeriesId(5), place(1, 3));
        assert_eq!(locations.all(SeriesId(5)).as_slice(), [place(1, 3)]);
        locations.set(SeriesId(5), place(2, 0));
        locations.set(SeriesId(5), place(1, 3));
        assert_eq!(locations.all(SeriesId(5)).as_slice(), [place(1, 3), place(2, 0)]);
        assert_eq!(locations.newest(SeriesId(4)), None);
        assert_eq!(locations.earlier(), [(SeriesId(5), place(2, 0))]);
        locations.forget_earlier(&[(SeriesId(5), place(2, 0))]);
        assert_eq!(locations.all(SeriesId(5)).len(), 1);
    }
}
