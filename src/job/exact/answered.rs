//! Several hints of a deserializer that one method answers.

/// Several hints that are answered alike.
macro_rules! answered {
    ($($hint:ident)* => $by:ident) => {$(
        fn $hint<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.$by(visitor)
        }
    )*};
}

pub(super) use answered;
