import FileFuzzing
import Foundation

// What libFuzzer calls, and what of it is called.

/// The target that is being fuzzed.
///
/// Safe: set once, before libFuzzer begins, which has one thread.
nonisolated(unsafe) private var target: FuzzTarget?

@_silgen_name("LLVMFuzzerRunDriver")
private func runLibFuzzer(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ run: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

@_silgen_name("LLVMFuzzerMutate")
private func mutateBytes(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ maximumCount: Int) -> Int

/// The symbol that libFuzzer's own `main`, which is not used, links against.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    target?.run(UnsafeRawBufferPointer(start: bytes, count: count))
    return 0
}

/// Changes an input: mostly by the target's own mutation, otherwise as libFuzzer does.
@_cdecl("LLVMFuzzerCustomMutator")
public func mutate(
    _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ maximumCount: Int, _ seed: CUnsignedInt
) -> Int {
    var random = FuzzRandom(seed: UInt64(seed))
    if random.next() % 4 != 0,
        let changed = target?.mutate(Array(UnsafeBufferPointer(start: bytes, count: count)), &random),
        changed.count <= maximumCount
    {
        _ = UnsafeMutableBufferPointer(start: bytes, count: maximumCount).update(fromContentsOf: changed)
        return changed.count
    }
    return mutateBytes(bytes, count, maximumCount)
}

/// Fuzzes one of some targets.
///
/// The first argument is the target's name, the others are libFuzzer's; `--list` lists the targets and how long their inputs
/// are, and `--write-seeds FOLDER` writes their seeds into a folder each.
public func fuzz(
    _ targets: [FuzzTarget], _ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
) -> CInt {
    let words = (1..<max(1, Int(count))).map { arguments[$0].map { String(cString: $0) } ?? "" }
    switch words.first {
    case "--list":
        for target in targets { print(target.name, target.maximumByteCount) }
        return 0
    case "--write-seeds" where words.count == 2:
        do {
            for target in targets {
                let folder = "\(words[1])/\(target.name)"
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
                for seed in target.seeds() {
                    try Data(seed.bytes).write(to: URL(fileURLWithPath: "\(folder)/seed-\(seed.name)"))
                }
            }
            return 0
        } catch {
            print("The seeds cannot be written: \(error)")
            return 1
        }
    default: break
    }
    guard let found = targets.first(where: { $0.name == words.first }) else {
        print("Name one of: \(targets.map(\.name).joined(separator: ", "))")
        return 64
    }
    target = found
    // libFuzzer takes the first of its arguments for the program's name.
    var rest = arguments + 1
    var restCount = count - 1
    return runLibFuzzer(&restCount, &rest) { testOneInput($0, $1) }
}
