import Foundation
import ModelFiles

/// A folder whose files an input describes: a JSON object of their names and what they hold.
///
/// A text is written as it is, all else as JSON. Only files that the target knows are written.
final class FuzzFolder: Sendable {
    let path: String
    /// The input that describes the files as they were made.
    let example: [UInt8]
    private let names: [String]

    /// Makes the folder, with the files that stay as they are.
    init(_ names: [String], prepare: (String) throws -> Void) {
        path = NSTemporaryDirectory() + "/fuzzing-\(UUID().uuidString)"
        self.names = names
        do {
            for name in names {
                let place = URL(fileURLWithPath: "\(path)/\(name)").deletingLastPathComponent()
                try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
            }
            try prepare(path)
            example = try Self.input(names, of: path)
        } catch {
            fatalError("The folder cannot be made: \(error)")
        }
    }

    /// Writes the files that an input describes, and removes the others; returns whether it describes any.
    func write(_ input: UnsafeRawBufferPointer) -> Bool {
        guard let object = (try? JSONValue(parsing: input))?.objectValue else { return false }
        for name in names {
            let path = "\(path)/\(name)"
            guard let value = object[name] else {
                unlink(path)
                continue
            }
            let bytes = value.stringValue.map { Array($0.utf8) } ?? (try? value.serialized()) ?? []
            // Without what makes a file safe on the disk: ten million are written.
            guard let file = fopen(path, "w") else { continue }
            fwrite(bytes, 1, bytes.count, file)
            fclose(file)
        }
        return true
    }

    private static func input(_ names: [String], of folder: String) throws -> [UInt8] {
        var object = JSONObject()
        for name in names {
            let bytes = try MappedFile(reading: "\(folder)/\(name)").withUnsafeBytes { Array($0) }
            object.append(name, (try? JSONValue(parsing: bytes)) ?? .string(String(decoding: bytes, as: UTF8.self)))
        }
        return try JSONValue.object(object).serialized()
    }
}
