//! Columns of every type, with values that are the same for the same seed.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;

/// Values that are the same for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 17
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Small numbers, the edges of types and of doubles, anything.
    fn whole(&mut self) -> i128 {
        const EDGES: [i128; 12] = [
            0,
            127,
            -128,
            (1 << 24) + 1,
            (1 << 53) + 1,
            -(1 << 53) - 1,
            i64::MAX as i128,
            i64::MIN as i128,
            u64::MAX as i128,
            1 << 63,
            1_790_000_000_123,
            253_402_300_800,
        ];
        match self.below(3) {
            0 => EDGES[self.below(12) as usize],
            1 => i128::from(self.below(600) as i64 - 300),
            _ => i128::from((self.next() << 20 ^ self.next()) as i64),
        }
    }
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

fn structure(fields: Vec<Field>) -> DataType {
    DataType::Struct(fields.into())
}

/// Every type that Parquet files of Arrow's can have.
pub(super) fn types() -> Vec<DataType> {
    use DataType as T;
    let mut types = vec![
        T::Null,
        T::Boolean,
        T::Int8,
        T::Int16,
        T::Int32,
        T::Int64,
        T::UInt8,
        T::UInt16,
        T::UInt32,
        T::UInt64,
        T::Float16,
        T::Float32,
        T::Float64,
        T::Decimal32(7, 2),
        T::Decimal64(16, 4),
        T::Decimal128(38, 0),
        T::Decimal128(30, 10),
        T::Decimal256(60, 12),
        T::Utf8,
        T::LargeUtf8,
        T::Utf8View,
        T::Binary,
        T::LargeBinary,
        T::BinaryView,
        T::FixedSizeBinary(5),
        T::Date32,
        T::Date64,
        T::Time32(TimeUnit::Second),
        T::Time32(TimeUnit::Millisecond),
        T::Time64(TimeUnit::Microsecond),
        T::Time64(TimeUnit::Nanosecond),
        T::Interval(IntervalUnit::YearMonth),
        T::Interval(IntervalUnit::DayTime),
        T::Dictionary(Box::new(T::Int32), Box::new(T::Utf8)),
        T::Dictionary(Box::new(T::UInt8), Box::new(T::Int64)),
        list_of(T::Int64),
        list_of(T::Utf8),
        list_of(T::Decimal128(20, 3)),
        list_of(list_of(T::UInt64)),
        T::LargeList(Arc::new(Field::new("item", T::Float64, true))),
        T::FixedSizeList(Arc::new(Field::new("item", T::Int32, true)), 2),
        structure(vec![
            Field::new("a", T::Int64, true),
            Field::new("b", T::Utf8, true),
        ]),
        structure(vec![
            Field::new(
                "deep",
                structure(vec![Field::new("c", list_of(T::Boolean), true)]),
                true,
            ),
            Field::new(
                "when",
                T::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
                true,
            ),
        ]),
        list_of(structure(vec![
            Field::new("name", T::Utf8, true),
            Field::new("n", T::UInt64, true),
        ])),
        T::Map(
            Arc::new(Field::new(
                "entries",
                structure(vec![
                    Field::new("keys", T::Utf8, false),
                    Field::new("values", T::Int64, true),
                ]),
                false,
            )),
            false,
        ),
    ];
    for unit in [
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
    ] {
        types.push(T::Duration(unit));
        types.push(T::Timestamp(unit, None));
        types.push(T::Timestamp(unit, Some("UTC".into())));
        types.push(T::Timestamp(unit, Some("+05:30".into())));
    }
    types
}

/// A column of a type with `n` values.
pub(super) fn column(of: &DataType, n: usize, dice: &mut Dice) -> ArrayRef {
    use DataType as T;
    let nulls = |dice: &mut Dice| -> arrow::buffer::NullBuffer {
        (0..n)
            .map(|_| dice.below(4) > 0)
            .collect::<Vec<bool>>()
            .into()
    };
    match of {
        T::Null => Arc::new(NullArray::new(n)),
        T::Boolean => {
            let values = (0..n).map(|_| [None, Some(true), Some(false)][dice.below(3) as usize]);
            Arc::new(values.collect::<BooleanArray>())
        }
        T::Float16 | T::Float32 | T::Float64 => {
            const VALUES: [f64; 8] = [
                0.0,
                -0.0,
                0.1,
                1e300,
                5e-324,
                -2.5,
                16_777_217.0,
                1e15 + 0.3,
            ];
            let values = (0..n).map(|_| {
                (dice.below(4) > 0).then(|| match dice.below(2) {
                    0 => VALUES[dice.below(8) as usize],
                    _ => dice.next() as f64 / 1e6 - 4e7,
                })
            });
            let values: ArrayRef = Arc::new(values.collect::<Float64Array>());
            // Without the infinities that narrower types make: text has no form for them.
            let narrow = arrow::compute::cast(&values, of).unwrap();
            let wide = arrow::compute::cast(&narrow, &T::Float64).unwrap();
            let wide = wide.as_primitive::<Float64Type>();
            let finite: Vec<bool> = wide.iter().map(|v| v.is_some_and(f64::is_finite)).collect();
            let unusual = BooleanArray::from(finite.iter().map(|v| !v).collect::<Vec<_>>());
            arrow::compute::nullif(&narrow, &unusual).unwrap()
        }
        T::Utf8 | T::LargeUtf8 | T::Utf8View => {
            const TEXTS: [&str; 9] = [
                "",
                " ",
                "plain",
                "a,b",
                "\"q\"",
                "two\nlines",
                "模型",
                "0012",
                "null",
            ];
            let values = (0..n).map(|_| (dice.below(4) > 0).then(|| TEXTS[dice.below(9) as usize]));
            let values: ArrayRef = Arc::new(values.collect::<StringArray>());
            arrow::compute::cast(&values, of).unwrap()
        }
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => {
            let values = (0..n)
                .map(|_| (dice.below(4) > 0).then(|| dice.next().to_be_bytes()[3..].to_vec()));
            let values: Vec<Option<Vec<u8>>> = values.collect();
            if let T::FixedSizeBinary(size) = of {
                let values = values.into_iter();
                return Arc::new(
                    FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, *size).unwrap(),
                );
            }
            let values: ArrayRef = Arc::new(values.into_iter().collect::<BinaryArray>());
            arrow::compute::cast(&values, of).unwrap()
        }
        T::Dictionary(_, values) => arrow::compute::cast(&column(values, n, dice), of).unwrap(),
        T::List(item) | T::LargeList(item) => {
            let lengths: Vec<usize> = (0..n).map(|_| dice.below(4) as usize).collect();
            let items = column(item.data_type(), lengths.iter().sum(), dice);
            let nulls = Some(nulls(dice));
            if matches!(of, T::List(_)) {
                let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
                Arc::new(ListArray::new(item.clone(), offsets, items, nulls))
            } else {
                let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
                Arc::new(LargeListArray::new(item.clone(), offsets, items, nulls))
            }
        }
        T::FixedSizeList(item, size) => {
            let items = column(item.data_type(), n * *size as usize, dice);
            Arc::new(FixedSizeListArray::new(
                item.clone(),
                *size,
                items,
                Some(nulls(dice)),
            ))
        }
        T::Struct(fields) => {
            let columns = fields
                .iter()
                .map(|field| column(field.data_type(), n, dice))
                .collect();
            Arc::new(StructArray::new(fields.clone(), columns, Some(nulls(dice))))
        }
        T::Map(entries, sorted) => {
            let T::Struct(fields) = entries.data_type() else {
                panic!("{of}")
            };
            let lengths: Vec<usize> = (0..n).map(|_| dice.below(3) as usize).collect();
            let all: usize = lengths.iter().sum();
            let keys: StringArray = (0..all).map(|at| Some(format!("k{at}"))).collect();
            let values = column(fields[1].data_type(), all, dice);
            let items = StructArray::new(fields.clone(), vec![Arc::new(keys), values], None);
            let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
            Arc::new(MapArray::new(
                entries.clone(),
                offsets,
                items,
                Some(nulls(dice)),
                *sorted,
            ))
        }
        other => {
            let values: Vec<Option<i128>> = (0..n)
                .map(|_| (dice.below(4) > 0).then(|| dice.whole()))
                .collect();
            numbers(other, &values)
        }
    }
}

/// A column of numbers, as far as the type holds them.
fn numbers(of: &DataType, values: &[Option<i128>]) -> ArrayRef {
    use DataType as T;
    fn of_type<A: ArrowPrimitiveType<Native: TryFrom<i128>>>(
        of: &DataType,
        values: &[Option<i128>],
    ) -> ArrayRef {
        let values = values.iter().map(|v| v.and_then(|v| v.try_into().ok()));
        Arc::new(
            values
                .collect::<PrimitiveArray<A>>()
                .with_data_type(of.clone()),
        )
    }
    let within = |limit: i128| -> Vec<Option<i128>> {
        values
            .iter()
            .map(|v| v.map(|v| v.rem_euclid(limit)))
            .collect()
    };
    match of {
        T::Int8 => of_type::<Int8Type>(of, values),
        T::Int16 => of_type::<Int16Type>(of, values),
        T::Int32 => of_type::<Int32Type>(of, values),
        T::Int64 => of_type::<Int64Type>(of, values),
        T::UInt8 => of_type::<UInt8Type>(of, values),
        T::UInt16 => of_type::<UInt16Type>(of, values),
        T::UInt32 => of_type::<UInt32Type>(of, values),
        T::UInt64 => of_type::<UInt64Type>(of, values),
        T::Date32 => of_type::<Date32Type>(of, &within(3_000_000)),
        T::Date64 => {
            let days = within(2_000_000);
            let days: Vec<_> = days.iter().map(|v| v.map(|v| v * 86_400_000)).collect();
            of_type::<Date64Type>(of, &days)
        }
        T::Time32(TimeUnit::Second) => of_type::<Time32SecondType>(of, &within(86_400)),
        T::Time32(_) => of_type::<Time32MillisecondType>(of, &within(86_400_000)),
        T::Time64(TimeUnit::Microsecond) => {
            of_type::<Time64MicrosecondType>(of, &within(86_400_000_000))
        }
        T::Time64(_) => of_type::<Time64NanosecondType>(of, &within(86_400_000_000_000)),
        T::Duration(TimeUnit::Second) => of_type::<DurationSecondType>(of, &within(1 << 40)),
        T::Duration(TimeUnit::Millisecond) => of_type::<DurationMillisecondType>(of, values),
        T::Duration(TimeUnit::Microsecond) => of_type::<DurationMicrosecondType>(of, values),
        T::Duration(TimeUnit::Nanosecond) => of_type::<DurationNanosecondType>(of, values),
        // Up to the year 9999, which every reader knows.
        T::Timestamp(TimeUnit::Second, _) => {
            of_type::<TimestampSecondType>(of, &within(253_402_300_800))
        }
        T::Timestamp(TimeUnit::Millisecond, _) => {
            of_type::<TimestampMillisecondType>(of, &within(253_402_300_800_000))
        }
        T::Timestamp(TimeUnit::Microsecond, _) => {
            of_type::<TimestampMicrosecondType>(of, &within(253_402_300_800_000_000))
        }
        T::Timestamp(TimeUnit::Nanosecond, _) => of_type::<TimestampNanosecondType>(of, values),
        T::Interval(IntervalUnit::YearMonth) => {
            of_type::<IntervalYearMonthType>(of, &within(100_000))
        }
        T::Interval(_) => {
            let values = values.iter().map(|v| {
                v.map(|v| IntervalDayTime::new((v % 10_000) as i32, (v % 86_400_000) as i32))
            });
            Arc::new(values.collect::<IntervalDayTimeArray>())
        }
        T::Decimal32(precision, _) => {
            of_type::<Decimal32Type>(of, &within(10_i128.pow((*precision).into())))
        }
        T::Decimal64(precision, _) => {
            of_type::<Decimal64Type>(of, &within(10_i128.pow((*precision).into())))
        }
        T::Decimal128(..) => of_type::<Decimal128Type>(of, values),
        T::Decimal256(..) => {
            let wide = values
                .iter()
                .map(|v| v.map(|v| i256::from_i128(v * 1_000_000_007)));
            Arc::new(wide.collect::<Decimal256Array>().with_data_type(of.clone()))
        }
        other => panic!("no values of {other}"),
    }
}
