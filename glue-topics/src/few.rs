//! Maps of a few things, for where there are many such maps.

use std::collections::BTreeMap;

/// A sorted row; mostly there is one thing in it, which then stands here itself. A map of the standard library has room for
/// eleven as soon as it has one, and keeps it; and a row of one elsewhere is a small thing between larger ones that come and go, whose
/// memory the allocator can not join again.
#[derive(Clone, Debug, Default)]
pub(crate) enum Few<K, V> {
    #[default]
    None,
    One((K, V)),
    Many(Vec<(K, V)>),
}

impl<K: Copy + Ord, V> Few<K, V> {
    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.row().get(self.find(key).ok()?).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        self.row_mut().get_mut(at).map(|(_, value)| value)
    }

    /// Puts it in the place of what was there.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let at = match self.find(&key) {
            Ok(at) => return self.row_mut().get_mut(at).map_or((), |there| there.1 = value),
            Err(at) => at,
        };
        let mut row = match std::mem::take(self) {
            Self::None => return *self = Self::One((key, value)),
            Self::One(one) => {
                let mut row = Vec::with_capacity(2);
                row.push(one);
                row
            }
            Self::Many(row) => row,
        };
        row.reserve_exact(1);
        row.insert(at, (key, value));
        *self = Self::Many(row);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key).ok()?;
        let mut row = match std::mem::take(self) {
            Self::None => return None,
            Self::One((_, value)) => return Some(value),
            Self::Many(row) => row,
        };
        let (_, value) = row.remove(at);
        *self = match row.len() {
            0 | 1 => row.pop().map_or(Self::None, Self::One),
            _ => Self::Many(row),
        };
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.row().iter().map(|(key, value)| (*key, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        self.row_mut().iter_mut().map(|(key, value)| (*key, value))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.row().iter().map(|(_, value)| value)
    }

    fn find(&self, key: &K) -> Result<usize, usize> {
        self.row().binary_search_by_key(key, |(key, _)| *key)
    }

    fn row(&self) -> &[(K, V)] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(row) => row,
        }
    }

    fn row_mut(&mut self) -> &mut [(K, V)] {
        match self {
            Self::None => &mut [],
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(row) => row,
        }
    }
}

impl<K: Copy + Ord, V> FromIterator<(K, V)> for Few<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(all: I) -> Self {
        let mut few = Self::default();
        all.into_iter().for_each(|(key, value)| few.insert(key, value));
        few
    }
}

/// A map of the standard library that is empty again keeps room for eleven. Of each topic whose first bundle had to wait that was
/// three kilobytes.
pub(crate) fn give_back_room<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    if map.is_empty() {
        *map = BTreeMap::new();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn few_are_a_map(steps in prop::collection::vec((any::<bool>(), 0u8..9, any::<u8>()), 0..60)) {
            let (mut few, mut model) = (Few::default(), BTreeMap::new());
            for (adds, key, value) in steps {
                if adds {
                    few.insert(key, value);
                    model.insert(key, value);
                } else {
                    prop_assert_eq!(few.remove(&key), model.remove(&key));
                }
                few.iter_mut().for_each(|(_, value)| *value ^= 1);
                model.values_mut().for_each(|value| *value ^= 1);
                prop_assert_eq!(few.iter().collect::<Vec<_>>(), model.iter().map(|(key, value)| (*key, value)).collect::<Vec<_>>());
                prop_assert_eq!(few.get(&key), model.get(&key));
                prop_assert_eq!(few.get_mut(&key), model.get_mut(&key));
                prop_assert_eq!((few.contains_key(&key), few.is_empty()), (model.contains_key(&key), model.is_empty()));
            }
        }
    }
}
