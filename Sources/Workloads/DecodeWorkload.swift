internal import Attention

/// One query over a cache of keys and values, with the heads of a small language model.
enum DecodeWorkload {
    static var all: [Workload] {
        [ElementType.float32, .bfloat16, .float16].flatMap { type in
            [512, 4096, 32_768].map { workload(type, keyCount: $0) }
        }
    }

    private static func workload(_ elementType: ElementType, keyCount: Int) -> Workload {
        let (headCount, keyValueHeadCount, dimension) = (9, 3, 64)
        let name = "decode \(elementType.rawValue) h\(headCount) g\(keyValueHeadCount) k\(keyCount) d\(dimension)"
        let byteCount = 2 * keyValueHeadCount * keyCount * dimension * elementType.byteCount
        return Workload(name, bound: .memory, amount: Double(byteCount)) {
            var random = RandomStream(seed: 1)
            func operand(_ headCount: Int, _ length: Int) -> Tensor {
                random.normal([1, headCount, length, dimension], deviation: 1).converted(to: elementType)
            }
            let queries = operand(headCount, 1)
            var cache = KeyValueCache(
                batchCount: 1, headCount: keyValueHeadCount, keyDimension: dimension, valueDimension: dimension,
                capacity: keyCount, elementType: elementType)
            let (keys, values) = (operand(keyValueHeadCount, keyCount), operand(keyValueHeadCount, keyCount))
            // All but the last, and then the last, whose query it is.
            for part in [0..<keyCount - 1, keyCount - 1..<keyCount] {
                cache.append(keys: keys.slice(axis: 2, range: part), values: values.slice(axis: 2, range: part))
            }
            let expected = AttentionOperation().reference(queries: queries, keys: keys, values: values)
            // The output is rounded to the type of the queries.
            try Workload.check(
                name, cache.attention(queries: queries).doubles, expected.output.doubles,
                tolerance: elementType == .float32 ? 1e-5 : 1e-2)
            return { [cache] in _ = cache.attention(queries: queries) }
        }
    }
}
