//! A map of a few things, for where there are many such maps.

/// A sorted row. A map of the standard library has room for eleven things as soon as it has one, and keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Few<K, V>(Vec<(K, V)>);

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + Ord, V> Few<K, V> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(self.find(key).ok()?).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    /// Puts it in the place of what was there.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let at = self.find(&key).unwrap_or_else(|at| at);
        self.remove(&key);
        self.0.reserve_exact(1);
        self.0.insert(at, (key, value));
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key).ok()?;
        Some(self.0.remove(at).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (*key, value))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by_key(key, |(key, _)| *key)
    }
}

impl<K: Copy + Ord, V> FromIterator<(K, V)> for Few<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(all: I) -> Self {
        let mut few = Self::default();
        all.into_iter().for_each(|(key, value)| few.insert(key, value));
        few
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
