import Attention
import Foundation
import ModelFiles

/// Tensors by name, in safetensors or JSON.
enum TensorFile {
    /// Reads all tensors of a file.
    ///
    /// JSON is an object of nested arrays of numbers or booleans; safetensors are told by the ending.
    ///
    /// - Throws: `CommandFailure` that says what is wrong, and where.
    static func read(_ path: String) throws -> [String: Tensor] {
        do {
            if path.hasSuffix(".safetensors") { return try readSafetensors(path) }
            if path.hasSuffix(".json") { return try readJSON(path) }
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            // The typed errors of ModelFiles say what is wrong, where, and what to try.
            throw CommandFailure.failure("\(error)")
        }
        throw CommandFailure.usage("'\(path)' is neither .safetensors nor .json. Name a file of one of these kinds.")
    }

    private static func readSafetensors(_ path: String) throws -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        let file = try SafetensorsFile(path: path)
        for tensor in file.tensors {
            try requireElements(tensor.name, tensor.shape, in: path)
            let type: ElementType
            switch tensor.elementType {
            case .float64: type = .float64
            case .float32: type = .float32
            case .float16: type = .float16
            case .bfloat16: type = .bfloat16
            case .boolean: type = .bool
            default:
                throw CommandFailure.failure(
                    "The tensor '\(tensor.name)' in '\(path)' has type \(tensor.elementType); use F64, F32, F16, BF16 "
                        + "or BOOL.")
            }
            result[tensor.name] = tensor.data.withUnsafeBytes {
                Tensor(copying: $0, shape: tensor.shape, elementType: type)
            }
        }
        return result
    }

    private static func readJSON(_ path: String) throws -> [String: Tensor] {
        let file = try MappedFile(reading: path)
        guard let object = try file.withUnsafeBytes({ try JSONValue(parsing: $0) }).objectValue else {
            throw CommandFailure.failure("'\(path)' holds no JSON object. Write {\"queries\": [[…]], …}.")
        }
        var result: [String: Tensor] = [:]
        for (name, value) in object.members {
            result[name] = try tensor(value, named: name, in: path)
        }
        return result
    }

    private static func tensor(_ value: JSONValue, named name: String, in path: String) throws -> Tensor {
        var shape: [Int] = []
        var probe = value
        while let array = probe.arrayValue {
            shape.append(array.count)
            guard let first = array.first else { break }
            probe = first
        }
        var numbers: [Float] = []
        var booleans: [Bool] = []
        func wrong(_ what: String) -> CommandFailure {
            .failure("'\(name)' in '\(path)' \(what). Write equally long arrays of numbers, or of true and false.")
        }
        func collect(_ value: JSONValue, _ depth: Int) throws {
            if let array = value.arrayValue {
                guard depth < shape.count, array.count == shape[depth] else { throw wrong("is ragged") }
                for element in array { try collect(element, depth + 1) }
            } else if depth != shape.count {
                throw wrong("is ragged")
            } else if let boolean = value.booleanValue {
                booleans.append(boolean)
            } else if let number = value.doubleValue {
                guard Float(number).isFinite else { throw wrong("holds \(number), beyond float32") }
                numbers.append(Float(number))
            } else {
                throw wrong("holds something that is neither number nor boolean")
            }
        }
        try requireElements(name, shape, in: path)
        try collect(value, 0)
        if !booleans.isEmpty && !numbers.isEmpty { throw wrong("mixes numbers and booleans") }
        return booleans.isEmpty ? Tensor(numbers, shape: shape) : Tensor(booleans, shape: shape)
    }

    /// Refuses tensors without elements, whose other extents could be anything, and so take any time and memory.
    private static func requireElements(_ name: String, _ shape: [Int], in path: String) throws {
        if shape.contains(0) {
            throw CommandFailure.failure("'\(name)' in '\(path)' has shape \(shape): it holds nothing to compute with.")
        }
    }

    /// Returns tensors as a JSON object of nested arrays; a number that JSON does not have becomes `null`.
    static func json(_ tensors: [(name: String, tensor: Tensor)]) -> String {
        func render(_ elements: ArraySlice<String>, _ shape: ArraySlice<Int>) -> String {
            guard let extent = shape.first else { return elements.first ?? "null" }
            let size = extent == 0 ? 0 : elements.count / extent
            let parts = (0..<extent).map { index in
                let start = elements.startIndex + index * size
                return render(elements[start..<start + size], shape.dropFirst())
            }
            return "[\(parts.joined(separator: ", "))]"
        }
        let lines = tensors.map { name, tensor in
            let elements: [String]
            switch tensor.elementType {
            case .float64: elements = tensor.doubles.map { $0.isFinite ? "\($0)" : "null" }
            default: elements = tensor.floats.map { $0.isFinite ? "\($0)" : "null" }
            }
            return "  \"\(name)\": \(render(elements[...], tensor.shape[...]))"
        }
        return "{\n\(lines.joined(separator: ",\n"))\n}\n"
    }

    /// Writes tensors to a file, in safetensors or JSON by its ending: beside its place, synced and renamed.
    static func write(_ tensors: [(name: String, tensor: Tensor)], to path: String) throws {
        do {
            if path.hasSuffix(".json") {
                try Data(json(tensors).utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
            } else if path.hasSuffix(".safetensors") {
                try SafetensorsFile.write(
                    tensors: tensors.map { name, tensor in
                        SafetensorsFile.TensorToWrite(
                            name: name, elementType: tensor.elementType.safetensors, shape: tensor.shape,
                            bytes: tensor.withUnsafeBytes { Array($0) })
                    }, metadata: [], to: path)
            } else {
                throw CommandFailure.usage("'\(path)' is neither .safetensors nor .json. Choose one of these endings.")
            }
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            throw CommandFailure.failure("cannot write '\(path)': \(error)")
        }
    }
}

extension ElementType {
    fileprivate var safetensors: SafetensorsFile.ElementType {
        switch self {
        case .float64: .float64
        case .float32: .float32
        case .float16: .float16
        case .bfloat16: .bfloat16
        case .int64: .int64
        case .int32: .int32
        case .bool: .boolean
        }
    }
}
