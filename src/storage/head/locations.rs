//! Where in the head a series' samples lie: group and column. Most series have one place for life.

use crate::storage::append::SeriesId;
use crate::storage::index::pages::Pages;
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

/// The places of all series.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    newest: Pages<Location>,
    /// Earlier places of series that moved.
    earlier: HashMap<u32, SmallVec<[Location; 2]>, foldhash::fast::RandomState>,
}

impl Locations {
    /// Returns where a series' newest samples are.
    #[inline]
    pub(crate) fn newest(&self, series: SeriesId) -> Option<Location> {
        self.newest.get(series.0).copied()
    }

    /// Returns whether a series has an earlier place beside its newest.
    pub(crate) fn any_moved(&self) -> bool {
        !self.earlier.is_empty()
    }

    /// Returns the earlier places of a series that moved.
    pub(crate) fn earlier_of(&self, series: SeriesId) -> Option<SmallVec<[Location; 2]>> {
        self.earlier.get(&series.0).cloned()
    }

    /// Returns all places of a series.
    pub(crate) fn all(&self, series: SeriesId) -> SmallVec<[Location; 2]> {
        let mut places: SmallVec<[Location; 2]> = self.newest(series).into_iter().collect();
        if self.any_moved() {
            places.extend(self.earlier_of(series).into_iter().flatten());
        }
        places
    }

    /// Sets where a series' newest samples go; an earlier place in another group is remembered.
    pub(crate) fn set(&mut self, series: SeriesId, place: Location) {
        let before = self.newest.set(series.0, place).filter(|before| before.group != place.group);
        if before.is_none() && self.earlier.is_empty() {
            return;
        }
        let earlier = self.earlier.entry(series.0).or_default();
        earlier.retain(|known| known.group != place.group && before.is_none_or(|before| known.group != before.group));
        earlier.extend(before);
        if earlier.is_empty() {
            self.earlier.remove(&series.0);
        }
    }

    /// A series goes on nowhere; what it has stays where it is.
    pub(crate) fn leave(&mut self, series: SeriesId) {
        if let Some(before) = self.newest.remove(series.0) {
            let earlier = self.earlier.entry(series.0).or_default();
            earlier.retain(|known| known.group != before.group);
            earlier.push(before);
        }
    }

    /// Forgets a series.
    pub(crate) fn forget(&mut self, series: SeriesId) {
        self.newest.remove(series.0);
        self.earlier.remove(&series.0);
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
        self.newest.memory_bytes() + self.earlier.allocation_size()
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
        locations.leave(SeriesId(5));
        assert_eq!(locations.newest(SeriesId(5)), None);
        assert_eq!(locations.all(SeriesId(5)).as_slice(), [place(1, 3)]);
        locations.set(SeriesId(5), place(1, 7));
        assert_eq!(locations.all(SeriesId(5)).as_slice(), [place(1, 7)]);
        locations.forget(SeriesId(5));
        assert!(locations.all(SeriesId(5)).is_empty() && locations.earlier().is_empty());
    }
}
