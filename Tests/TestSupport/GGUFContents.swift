package import ModelFiles

/// A GGUF file to be written: metadata and tensors, which a test may change to lies.
package struct GGUFContents {
    /// A metadata value.
    package enum Value {
        case uint32(UInt32)
        case int32(Int32)
        case uint64(UInt64)
        case float32(Float)
        case boolean(Bool)
        case string(String)
        case strings([String])
        case int32s([Int32])
    }

    /// A named tensor, its fastest dimension first.
    package struct Tensor {
        package var name: String
        package var dimensions: [Int]
        package var type: GGUFFile.TensorType
        package var bytes: [UInt8]

        package init(_ name: String, dimensions: [Int], type: GGUFFile.TensorType, bytes: [UInt8]) {
            self.name = name
            self.dimensions = dimensions
            self.type = type
            self.bytes = bytes
        }

        /// A float32 tensor.
        package init(_ name: String, dimensions: [Int], _ values: [Float]) {
            self.init(
                name, dimensions: dimensions, type: .float32, bytes: values.flatMap { little($0.bitPattern) })
        }
    }

    /// The tensors, in the file's order.
    package var tensors: [Tensor] = []
    private var metadata: [(key: String, value: Value)] = []
    private static let alignment = 32

    package init() {}

    /// The value of a metadata key; `nil` leaves the key out.
    package subscript(key: String) -> Value? {
        get { metadata.first { $0.key == key }?.value }
        set {
            let index = metadata.firstIndex { $0.key == key } ?? metadata.count
            if index < metadata.count { metadata.remove(at: index) }
            if let newValue { metadata.insert((key, newValue), at: index) }
        }
    }

    /// The tensor of a name; `nil` leaves it out.
    package subscript(tensor name: String) -> Tensor? {
        get { tensors.first { $0.name == name } }
        set {
            let index = tensors.firstIndex { $0.name == name } ?? tensors.count
            if index < tensors.count { tensors.remove(at: index) }
            if let newValue { tensors.insert(newValue, at: index) }
        }
    }

    /// The bytes before the tensors' data.
    package var header: [UInt8] {
        var bytes = Array("GGUF".utf8) + little(UInt32(3))
        bytes += little(UInt64(tensors.count)) + little(UInt64(metadata.count))
        for (key, value) in metadata { bytes += string(key) + encoded(value) }
        var offset = 0
        for tensor in tensors {
            bytes += string(tensor.name) + little(UInt32(tensor.dimensions.count))
            for dimension in tensor.dimensions { bytes += little(UInt64(dimension)) }
            bytes += little(tensor.type.rawValue) + little(UInt64(offset))
            offset += padded(tensor.bytes).count
        }
        return padded(bytes)
    }

    /// The whole file.
    package var bytes: [UInt8] {
        header + tensors.flatMap { padded($0.bytes) }
    }

    /// The whole file, as if it had been opened.
    package func file(path: String = "written.gguf") throws(GGUFError) -> GGUFFile {
        try GGUFFile(MappedFile(bytes: bytes, path: path))
    }

    private func padded(_ bytes: [UInt8]) -> [UInt8] {
        bytes + [UInt8](repeating: 0, count: (Self.alignment - bytes.count % Self.alignment) % Self.alignment)
    }

    private func encoded(_ value: Value) -> [UInt8] {
        func array(_ type: GGUFFile.ValueType, _ elements: [[UInt8]]) -> [UInt8] {
            little(GGUFFile.ValueType.array.rawValue) + little(type.rawValue) + little(UInt64(elements.count))
                + elements.joined()
        }
        func scalar(_ type: GGUFFile.ValueType, _ bytes: [UInt8]) -> [UInt8] { little(type.rawValue) + bytes }
        switch value {
        case .uint32(let number): return scalar(.uint32, little(number))
        case .int32(let number): return scalar(.int32, little(number))
        case .uint64(let number): return scalar(.uint64, little(number))
        case .float32(let number): return scalar(.float32, little(number.bitPattern))
        case .boolean(let boolean): return scalar(.boolean, [boolean ? 1 : 0])
        case .string(let text): return scalar(.string, string(text))
        case .strings(let texts): return array(.string, texts.map(string))
        case .int32s(let numbers): return array(.int32, numbers.map { little($0) })
        }
    }

    private func string(_ text: String) -> [UInt8] {
        little(UInt64(text.utf8.count)) + text.utf8
    }
}

private func little<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
}
