import TestSupport
import Testing

@testable import ModelFiles

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

private func bytes(_ header: String, dataCount: Int = 0) -> [UInt8] {
    let header = Array(header.utf8)
    return GGUFBuilder.little(UInt64(header.count)) + header + [UInt8](repeating: 7, count: dataCount)
}

/// Returns what is wrong with a file, or `nil` when nothing is.
private func problem(_ bytes: [UInt8]) -> SafetensorsError.Problem? {
    do {
        _ = try SafetensorsFile(MappedFile(bytes: bytes))
        return nil
    } catch {
        return error.problem
    }
}

private func problem(_ header: String, dataCount: Int = 0) -> SafetensorsError.Problem? {
    problem(bytes(header, dataCount: dataCount))
}

/// A header of one tensor.
private func tensor(
    _ type: String = "F32", _ shape: String = "[2]", _ offsets: String = "[0,8]", name: String = "a"
) -> String {
    #"{"\#(name)":{"dtype":"\#(type)","shape":\#(shape),"data_offsets":\#(offsets)}}"#
}

private let sampleHeader =
    #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"#
    + #""b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}  "#

@Suite struct `safetensors files` {
    @Test func `tensors and metadata are read`() throws {
        let file = try SafetensorsFile(MappedFile(bytes: bytes(sampleHeader, dataCount: 11)))
        #expect(file.tensors.map(\.name) == ["a", "b"])
        #expect(file.tensor(named: "a")?.shape == [2, 1])
        #expect(file.tensor(named: "b")?.elementType == .uint8)
        #expect(file.tensor(named: "b")?.data.withUnsafeBytes { Array($0) } == [7, 7, 7])
        #expect(file.metadataValue("format") == "pt")
        #expect(throws: SafetensorsError.self) { try file.requireTensor(named: "c") }
    }

    @Test(arguments: SafetensorsFile.ElementType.allCases)
    func `every element type is read`(type: SafetensorsFile.ElementType) throws {
        let header = tensor(type.rawValue, "[3]", "[0,\(3 * type.byteCount)]")
        #expect(problem(header, dataCount: 3 * type.byteCount) == nil)
    }

    @Test func `scalars and empty tensors are legal`() throws {
        #expect(problem(tensor("F32", "[]", "[0,4]"), dataCount: 4) == nil)
        #expect(problem(tensor("F32", "[0,5]", "[0,0]")) == nil)
        #expect(problem("{}") == nil)
        let two =
            #"{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#
        #expect(problem(two, dataCount: 1) == nil)
    }

    // MARK: - Known attacks

    @Test func `short files are refused`() {
        for count in 0..<8 {
            #expect(problem([UInt8](repeating: 0, count: count)) == .tooShort(byteCount: count))
        }
        #expect(problem([UInt8](repeating: 0, count: 8)) == .headerNotObject)
    }

    @Test(arguments: [100_000_001, 1 << 63, UInt64.max] as [UInt64])
    func `headers beyond the limit are refused`(length: UInt64) {
        #expect(problem(GGUFBuilder.little(length) + [0x7B]) == .headerTooLong(byteCount: length))
    }

    @Test func `headers beyond the end are refused`() {
        #expect(
            problem(GGUFBuilder.little(UInt64(100_000_000)) + [0x7B])
                == .headerOutOfBounds(byteCount: 100_000_000, remaining: 1))
    }

    @Test(arguments: [" {}", "[]", "null", ""])
    func `headers begin with a brace`(header: String) {
        #expect(problem(header) == .headerNotObject)
    }

    @Test func `headers are JSON without duplicate keys`() {
        #expect(
            problem(#"{"a":1,"a":1}"#)
                == .headerNotJSON(JSONError(offset: 7, problem: .duplicateKey("a"))))
        #expect(
            problem(String(repeating: #"{"a":"#, count: 100_000))
                == .headerNotJSON(JSONError(offset: 40, problem: .nestedTooDeeply(limit: 8))))
    }

    @Test func `metadata holds strings only`() {
        #expect(problem(#"{"__metadata__":[]}"#) == .metadataNotStrings(key: nil))
        #expect(problem(#"{"__metadata__":{"a":1}}"#) == .metadataNotStrings(key: "a"))
    }

    @Test(arguments: [
        "1", "{}", #"{"dtype":"F32"}"#, #"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#,
        #"{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}"#,
        #"{"dtype":"F32","shape":1,"data_offsets":[0,4]}"#,
        #"{"dtype":"F32","shape":[1],"data_offsets":[0]}"#,
        #"{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}"#,
        #"{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}"#,
        #"{"dtype":1,"shape":[1],"data_offsets":[0,4]}"#,
    ])
    func `malformed entries are refused`(entry: String) {
        guard case .malformedField(tensor: "a", _, _)? = problem(#"{"a":\#(entry)}"#, dataCount: 4) else {
            Issue.record("\(String(describing: problem(#"{"a":\#(entry)}"#, dataCount: 4)))")
            return
        }
    }

    @Test(arguments: ["F8_E4M3", "U64", "C64", "f32", ""])
    func `unsupported types are refused by name`(type: String) {
        #expect(
            problem(tensor(type), dataCount: 8) == .unsupportedElementType(tensor: "a", type: type))
    }

    @Test(arguments: ["[9223372036854775807,2]", "[4611686018427387904,4,0]", "[2305843009213693952]"])
    func `sizes that overflow are refused`(shape: String) {
        #expect(problem(tensor("F32", shape), dataCount: 8) == .sizeOverflow(tensor: "a"))
    }

    @Test func `shapes that disagree with the bytes are refused`() {
        #expect(
            problem(tensor("F32", "[3]"), dataCount: 8)
                == .wrongByteCount(tensor: "a", expected: 12, found: 8))
        #expect(
            problem(tensor("F32", "[2]", "[8,0]"), dataCount: 8)
                == .offsetsReversed(tensor: "a", begin: 8, end: 0))
    }

    @Test func `holes and overlaps are refused`() {
        #expect(
            problem(tensor("F32", "[2]", "[4,12]"), dataCount: 12)
                == .notContiguous(tensor: "a", begin: 4, expected: 0))
        for (begin, end) in [(7, 10), (9, 12)] {
            let header = sampleHeader.replacing("[8,11]", with: "[\(begin),\(end)]")
            #expect(
                problem(header, dataCount: end) == .notContiguous(tensor: "b", begin: begin, expected: 8))
        }
    }

    // A file that is two formats at once (Trail of Bits, 2023).
    @Test func `tensors end where the file does`() {
        #expect(problem(sampleHeader, dataCount: 12) == .wrongDataLength(expected: 11, found: 12))
        #expect(problem(sampleHeader, dataCount: 10) == .wrongDataLength(expected: 11, found: 10))
        #expect(problem("{}", dataCount: 1) == .wrongDataLength(expected: 0, found: 1))
        #expect(
            problem(tensor("U8", "[9223372036854775807]", "[0,9223372036854775807]"))
                == .wrongDataLength(expected: .max, found: 0))
    }

    // MARK: - Damage

    @Test func `every truncation is an error`() {
        let whole = bytes(sampleHeader, dataCount: 11)
        #expect(problem(whole) == nil)
        for count in 0..<whole.count {
            #expect(problem(Array(whole[..<count])) != nil)
        }
    }

    @Test func `twenty thousand damaged files are refused or read whole`() {
        let whole = bytes(sampleHeader, dataCount: 11)
        var generator = SeededGenerator(seed: 1)
        var readCount = 0
        for _ in 0..<20_000 {
            do {
                let file = try SafetensorsFile(MappedFile(bytes: generator.mutation(of: whole, in: 0..<whole.count)))
                for tensor in file.tensors {
                    #expect(
                        tensor.elementCount * tensor.elementType.byteCount
                            == tensor.data.withUnsafeBytes(\.count))
                }
                readCount += 1
            } catch {
                if "\(error)".isEmpty { Issue.record(error) }
            }
        }
        #expect((100..<19_900).contains(readCount))
    }

    // MARK: - Writing

    @Test func `what is written reads back, aligned`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/tensors.safetensors"
            try SafetensorsFile.write(
                tensors: [
                    .init(name: "bytes", elementType: .uint8, shape: [3], bytes: [1, 2, 3]),
                    .init(name: "\u{E9}", elementType: .float64, shape: [1], bytes: [UInt8](0..<8)),
                    .init(name: "e\u{301}", elementType: .float16, shape: [], bytes: [9, 9]),
                    .init(name: "empty", elementType: .int64, shape: [0, 2], bytes: []),
                ],
                metadata: [("format", "pt"), ("quote", "\"\n")], to: path)
            let file = try SafetensorsFile(path: path)
            #expect(file.tensors.count == 4)
            #expect(file.tensor(named: "bytes")?.data.withUnsafeBytes { Array($0) } == [1, 2, 3])
            #expect(file.tensor(named: "\u{E9}")?.data.withUnsafeBytes { Array($0) } == Array(0..<8))
            #expect(file.tensor(named: "e\u{301}")?.shape == [])
            #expect(file.tensor(named: "empty")?.shape == [0, 2])
            #expect(file.metadata.map(\.key) == ["format", "quote"])
            #expect(file.metadataValue("quote") == "\"\n")
            for tensor in file.tensors {
                #expect(tensor.data.range.lowerBound % tensor.elementType.byteCount == 0)
            }
        }
    }

    @Test func `a failure leaves the old file and nothing else`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/tensors.safetensors"
            try SafetensorsFile.write(tensors: [], to: path)
            let wrong = SafetensorsFile.TensorToWrite(
                name: "a", elementType: .float32, shape: [2], bytes: [1, 2, 3])
            #expect(
                throws: SafetensorsError(
                    path: path, problem: .wrongByteCount(tensor: "a", expected: 8, found: 3))
            ) {
                try SafetensorsFile.write(tensors: [wrong], to: path)
            }
            let lazy = SafetensorsFile.TensorToWrite(name: "a", elementType: .uint8, shape: [2]) { _ in }
            #expect(throws: SafetensorsError.self) { try SafetensorsFile.write(tensors: [lazy], to: path) }
            let good = SafetensorsFile.TensorToWrite(name: "a", elementType: .uint8, shape: [1], bytes: [1])
            #expect(throws: SafetensorsError(path: path, problem: .duplicateName("a"))) {
                try SafetensorsFile.write(tensors: [good, good], to: path)
            }
            #expect(try SafetensorsFile(path: path).tensors.isEmpty)
            #expect(names(in: folder) == ["tensors.safetensors"])
        }
    }

    @Test func `an older mapping survives a new file`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/tensors.safetensors"
            func write(_ byte: UInt8) throws {
                try SafetensorsFile.write(
                    tensors: [.init(name: "a", elementType: .uint8, shape: [1], bytes: [byte])], to: path)
            }
            try write(1)
            let older = try SafetensorsFile(path: path)
            try write(2)
            #expect(older.tensor(named: "a")?.data.withUnsafeBytes(\.first) == 1)
            #expect(try SafetensorsFile(path: path).tensor(named: "a")?.data.withUnsafeBytes(\.first) == 2)
        }
    }

    @Test func `a folder that does not exist is an error`() throws {
        try withTemporaryFolder { folder in
            #expect(throws: SafetensorsError.self) {
                try SafetensorsFile.write(tensors: [], to: "\(folder)/absent/tensors.safetensors")
            }
        }
    }
}
