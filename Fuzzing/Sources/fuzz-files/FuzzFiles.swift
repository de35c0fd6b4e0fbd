import FileFuzzing
import FuzzDriver

/// Where the program begins: SwiftPM gives `main` this name, so that libFuzzer's own is not used.
@_cdecl("fuzz_files_main")
public func fuzzFiles(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt {
    fuzz(FuzzTarget.files, count, arguments)
}
