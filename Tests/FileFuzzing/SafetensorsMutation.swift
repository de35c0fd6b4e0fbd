import ModelFiles

/// Changes one value in a safetensors file's header, and repairs the header's length.
package enum SafetensorsMutation {
    package static func mutated(_ bytes: [UInt8], _ random: inout FuzzRandom) -> [UInt8]? {
        guard bytes.count >= 8 else { return nil }
        let length = bytes[..<8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        guard length <= UInt64(bytes.count - 8), let header = try? JSONValue(parsing: Array(bytes[8..<8 + Int(length)]))
        else { return nil }
        var data = Array(bytes[(8 + Int(length))...])
        var changed = JSONMutation.mutated(header, &random)
        if random.oneIn(2) { changed = placed(changed, &data) }
        guard var text = try? changed.serialized() else { return nil }
        if random.oneIn(4) { text += [UInt8](repeating: 0x20, count: random.index(9)) }
        return little(UInt64(text.count)) + text + data
    }

    /// Lays the tensors out one after the other, by the sizes that their shapes and types give.
    private static func placed(_ header: JSONValue, _ data: inout [UInt8]) -> JSONValue {
        guard let object = header.objectValue else { return header }
        var result = JSONObject()
        var end: Int64 = 0
        for (name, value) in object.members {
            guard let type = value["dtype"]?.stringValue.flatMap(SafetensorsFile.ElementType.init(rawValue:)),
                let shape = value["shape"]?.arrayValue
            else {
                result.append(name, value)
                continue
            }
            let begin = end
            end &+= shape.reduce(Int64(type.byteCount)) { $0 &* ($1.integerValue ?? 1) }
            var entry = JSONObject()
            entry.append("dtype", .string(type.rawValue))
            entry.append("shape", .array(shape))
            entry.append("data_offsets", .array([.integer(begin), .integer(end)]))
            result.append(name, .object(entry))
        }
        if 0...4096 ~= end {
            let count = Int(end)
            data = Array(data.prefix(count)) + [UInt8](repeating: 1, count: Swift.max(0, count - data.count))
        }
        return .object(result)
    }
}
