import ModelFiles

/// Changes one pair or one tensor of a GGUF file, and writes the header again so that its counts and lengths hold.
package enum GGUFMutation {
    package static func mutated(_ bytes: [UInt8], _ random: inout FuzzRandom) -> [UInt8]? {
        guard var parts = GGUFParts(bytes) else { return nil }
        for _ in 0...random.index(2) {
            if parts.tensors.isEmpty || !parts.pairs.isEmpty && random.oneIn(2) {
                mutatePair(&parts, &random)
            } else {
                mutateTensor(&parts, &random)
            }
        }
        if !random.oneIn(4) { parts.placeTensors() }
        return parts.bytes
    }

    private static func mutatePair(_ parts: inout GGUFParts, _ random: inout FuzzRandom) {
        guard !parts.pairs.isEmpty else { return }
        let place = random.index(parts.pairs.count)
        switch random.index(8) {
        case 0: parts.pairs.remove(at: place)
        case 1:
            var pair = parts.pairs[place]
            pair.key.append(UInt8(random.index(256)))
            parts.pairs.insert(pair, at: random.index(parts.pairs.count + 1))
        case 2: parts.pairs[place].key = changed(parts.pairs[place].key, &random)
        case 3: parts.pairs[place].value = parts.pairs[random.index(parts.pairs.count)].value
        case 4:
            // The bytes under another type.
            let raw = parts.pairs[place].value.bytes
            parts.pairs[place].value = .raw(type: UInt32(random.index(14)), raw)
        default: parts.pairs[place].value = changed(parts.pairs[place].value, &random)
        }
    }

    private static func changed(_ value: GGUFParts.Value, _ random: inout FuzzRandom) -> GGUFParts.Value {
        switch value {
        case .raw(let type, var bytes):
            if type == GGUFFile.ValueType.string.rawValue, bytes.count >= 8, random.oneIn(2) {
                let text = changed(Array(bytes[8...]), &random)
                return .raw(type: type, little(UInt64(text.count)) + text)
            }
            if bytes.isEmpty { return value }
            if bytes.count <= 8, random.oneIn(2) {
                bytes = Array(little(random.edge()).prefix(bytes.count))
            } else {
                bytes[random.index(bytes.count)] = UInt8(random.index(256))
            }
            return .raw(type: type, bytes)
        case .array(var type, var elements):
            switch random.index(6) {
            case 0: type = UInt32(random.index(14))
            case 1 where !elements.isEmpty: elements.remove(at: random.index(elements.count))
            case 2 where !elements.isEmpty:
                elements.insert(random.pick(elements), at: random.index(elements.count + 1))
            default:
                guard !elements.isEmpty else { return value }
                let place = random.index(elements.count)
                let inner = changed(.raw(type: type, elements[place]), &random)
                elements[place] = inner.bytes
            }
            return .array(type: type, elements)
        }
    }

    private static func mutateTensor(_ parts: inout GGUFParts, _ random: inout FuzzRandom) {
        let place = random.index(parts.tensors.count)
        switch random.index(8) {
        case 0: parts.tensors.remove(at: place)
        case 1:
            var tensor = parts.tensors[place]
            tensor.name.append(UInt8(random.index(128)))
            parts.tensors.insert(tensor, at: random.index(parts.tensors.count + 1))
        case 2: parts.tensors[place].name = changed(parts.tensors[place].name, &random)
        case 3: parts.tensors[place].type = UInt32(random.index(42))
        case 4: parts.tensors[place].type = random.pick(GGUFFile.TensorType.allCases).rawValue
        case 5: parts.tensors[place].offset = random.edge()
        default:
            var dimensions = parts.tensors[place].dimensions
            switch random.index(4) {
            case 0: dimensions.append(random.oneIn(2) ? 1 : random.edge())
            case 1 where !dimensions.isEmpty: dimensions.removeLast()
            case 2: dimensions.reverse()
            default:
                if !dimensions.isEmpty { dimensions[random.index(dimensions.count)] = random.edge() }
            }
            parts.tensors[place].dimensions = dimensions
        }
    }

    private static func changed(_ bytes: [UInt8], _ random: inout FuzzRandom) -> [UInt8] {
        if random.oneIn(2) { return TextMutation.mutated(bytes, &random) ?? bytes }
        var bytes = bytes
        if random.oneIn(2) || bytes.isEmpty {
            bytes.insert(UInt8(random.index(256)), at: random.index(bytes.count + 1))
        } else {
            bytes[random.index(bytes.count)] = UInt8(random.index(256))
        }
        return bytes
    }
}

/// A GGUF file taken apart: as much of it as can be read without believing it.
private struct GGUFParts {
    enum Value {
        case raw(type: UInt32, [UInt8])
        case array(type: UInt32, [[UInt8]])

        var bytes: [UInt8] {
            switch self {
            case .raw(_, let bytes): bytes
            case .array(let type, let elements): little(type) + little(UInt64(elements.count)) + elements.joined()
            }
        }

        var type: UInt32 {
            switch self {
            case .raw(let type, _): type
            case .array: GGUFFile.ValueType.array.rawValue
            }
        }
    }

    struct Pair {
        var key: [UInt8]
        var value: Value
    }

    struct Tensor {
        var name: [UInt8]
        var dimensions: [UInt64]
        var type: UInt32
        var offset: UInt64
    }

    private let version: [UInt8]
    var pairs: [Pair] = []
    var tensors: [Tensor] = []
    private var data: [UInt8] = []

    init?(_ bytes: [UInt8]) {
        var reader = Reader(bytes: bytes)
        guard bytes.starts(with: "GGUF".utf8), let beginning = reader.take(8), let tensorCount = reader.integer(8),
            let pairCount = reader.integer(8)
        else { return nil }
        version = Array(beginning[4...])
        for _ in 0..<Swift.min(pairCount, 1000) {
            guard let key = reader.string(), let type = reader.integer(4), let value = reader.value(UInt32(type))
            else { return nil }
            pairs.append(Pair(key: key, value: value))
        }
        for _ in 0..<Swift.min(tensorCount, 1000) {
            guard let name = reader.string(), let dimensionCount = reader.integer(4), dimensionCount <= 8 else {
                return nil
            }
            var dimensions: [UInt64] = []
            for _ in 0..<dimensionCount { dimensions.append(reader.integer(8) ?? 0) }
            guard let type = reader.integer(4), let offset = reader.integer(8) else { return nil }
            tensors.append(Tensor(name: name, dimensions: dimensions, type: UInt32(type), offset: offset))
        }
        let start = (reader.offset + 31) & ~31
        data = Array(bytes[Swift.min(start, bytes.count)...])
    }

    /// Lays the tensors out one after the other, as the format wants it, where their sizes are small enough.
    mutating func placeTensors() {
        var end: UInt64 = 0
        for index in tensors.indices {
            tensors[index].offset = end
            guard let type = GGUFFile.TensorType(rawValue: tensors[index].type) else { continue }
            var count: UInt64 = 1
            for dimension in tensors[index].dimensions { count = count.multipliedReportingOverflow(by: dimension).0 }
            let byteCount = count / UInt64(type.blockLength) &* UInt64(type.bytesPerBlock)
            end = (end &+ byteCount &+ 31) & ~31
        }
        if end > UInt64(data.count), end < 4096 {
            data += [UInt8](repeating: 1, count: Int(end) - data.count)
        }
    }

    var bytes: [UInt8] {
        var bytes = Array("GGUF".utf8) + version + little(UInt64(tensors.count)) + little(UInt64(pairs.count))
        for pair in pairs {
            bytes += little(UInt64(pair.key.count)) + pair.key + little(pair.value.type) + pair.value.bytes
        }
        for tensor in tensors {
            bytes += little(UInt64(tensor.name.count)) + tensor.name + little(UInt32(tensor.dimensions.count))
            bytes += tensor.dimensions.flatMap { little($0) } + little(tensor.type) + little(tensor.offset)
        }
        return bytes + [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32) + data
    }

    private struct Reader {
        let bytes: [UInt8]
        var offset = 0

        mutating func take(_ count: UInt64) -> ArraySlice<UInt8>? {
            guard count <= UInt64(bytes.count - offset) else { return nil }
            defer { offset += Int(count) }
            return bytes[offset..<offset + Int(count)]
        }

        mutating func integer(_ byteCount: UInt64) -> UInt64? {
            take(byteCount).map { $0.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
        }

        mutating func string() -> [UInt8]? {
            integer(8).flatMap { take($0) }.map { Array($0) }
        }

        mutating func value(_ type: UInt32, depth: Int = 0) -> Value? {
            let start = offset
            switch GGUFFile.ValueType(rawValue: type) {
            case .uint8, .int8, .boolean: _ = take(1)
            case .uint16, .int16: _ = take(2)
            case .uint32, .int32, .float32: _ = take(4)
            case .uint64, .int64, .float64: _ = take(8)
            case .string: if string() == nil { return nil }
            case .array:
                guard depth < 8, let element = integer(4), let count = integer(8) else { return nil }
                var elements: [[UInt8]] = []
                for _ in 0..<Swift.min(count, 5000) {
                    guard let value = value(UInt32(element), depth: depth + 1) else { return nil }
                    elements.append(value.bytes)
                }
                return .array(type: UInt32(element), elements)
            case nil: return nil
            }
            return offset > start ? .raw(type: type, Array(bytes[start..<offset])) : nil
        }
    }
}

package func little<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
}
