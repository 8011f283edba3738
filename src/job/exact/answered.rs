//! Answers several hints of a deserializer with one method.

/// Forwards several hints to one method.
macro_rules! answered {
    ($($hint:ident)* => $by:ident) => {$(
        fn $hint<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.$by(visitor)
        }
    )*};
}

pub(super) use answered;
