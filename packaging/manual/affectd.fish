# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_affectd_global_optspecs
    string join \n log= h/help V/version
end

function __fish_affectd_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_affectd_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_affectd_using_subcommand
    set -l cmd (__fish_affectd_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c affectd -n "__fish_affectd_needs_command" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_needs_command" -s V -l version -d 'Print version'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "run" -d 'Run the daemon: frames in, GPIO lines, displays and events out'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "image" -d 'Find faces in pictures, classify each, and print one JSON line per file'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "detect" -d 'Find faces in pictures and print one JSON line per file'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "eval" -d 'Measure the classifier on pictures whose expression is known'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "fatigue" -d 'Apply the fatigue rules to a recording of eye measurements'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "baseline" -d 'Record how a person looks at rest'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "devices" -d 'List cameras, GPIO chips, buses and framebuffers by the names that a board file uses'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "check" -d 'Report everything that is wrong with a board file'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "safe" -d 'Set a board\'s GPIO lines to their safe level and exit'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "status" -d 'Report the state of the running daemon'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "pause" -d 'Close the camera of the running daemon until `affectd resume`'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "resume" -d 'End a pause that `affectd pause` began'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "test-outputs" -d 'Test the wiring: each GPIO line on for half a second, the inputs, the displays'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "model" -d 'Show how a model runs on this machine'
complete -c affectd -n "__fish_affectd_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c affectd -n "__fish_affectd_using_subcommand run" -l board -d 'This board file alone, in place of the system\'s: /usr/share/affectd/board.toml, /etc/affectd/board.toml and the drop-ins in board.d beside them' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand run" -l source -d 'Take frames from this source instead of the board file\'s' -r
complete -c affectd -n "__fish_affectd_using_subcommand run" -l format -d 'Pixel format, with --source: yuyv, uyvy, nv12, i420, grey, y16, rgb24, bgr24 or mjpg, by these names or those of ffmpeg, GStreamer and V4L2. Y4M and JPEGs on standard input need none' -r
complete -c affectd -n "__fish_affectd_using_subcommand run" -l size -d 'Size in pixels, with --source; raw frames need it' -r
complete -c affectd -n "__fish_affectd_using_subcommand run" -l fps -d 'Frames per second, with --source' -r
complete -c affectd -n "__fish_affectd_using_subcommand run" -l rotation -d 'Rotate the picture clockwise by 0, 90, 180 or 270 degrees instead of the board file\'s rotation' -r
complete -c affectd -n "__fish_affectd_using_subcommand run" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand run" -l mirror -d 'Exchange left and right, after the rotation'
complete -c affectd -n "__fish_affectd_using_subcommand run" -l fast -d 'Replay a recording as fast as this machine can'
complete -c affectd -n "__fish_affectd_using_subcommand run" -l repeat -d 'Start a recording again when it ends'
complete -c affectd -n "__fish_affectd_using_subcommand run" -l stats -d 'On exit and on SIGHUP, print the time of each stage and the memory in use to standard error'
complete -c affectd -n "__fish_affectd_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand image" -l annotate -d 'Also write a copy of each picture with boxes, labels and bars as DIR/NAME-faces.png' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand image" -l model -d 'Classifier: a path, or the name of a shipped one' -r
complete -c affectd -n "__fish_affectd_using_subcommand image" -l rotation -d 'Rotate clockwise by 0, 90, 180 or 270 degrees' -r
complete -c affectd -n "__fish_affectd_using_subcommand image" -l cascade -d 'Cascade in OpenCV\'s XML format: a path, or the name of a shipped one' -r
complete -c affectd -n "__fish_affectd_using_subcommand image" -l scale-factor -d 'Factor between two face sizes of the search, 1.01 to 10. A smaller factor finds more faces and takes longer' -r
complete -c affectd -n "__fish_affectd_using_subcommand image" -l min-neighbors -d 'How many windows must agree on a face. A larger number gives fewer false faces; 0 shows every window' -r
complete -c affectd -n "__fish_affectd_using_subcommand image" -l min-size -d 'Smallest face in pixels, as 30 or 30x40 [default: the cascade\'s window]' -r
complete -c affectd -n "__fish_affectd_using_subcommand image" -l max-size -d 'Largest face in pixels, as 300 or 300x400 [default: the picture]' -r
complete -c affectd -n "__fish_affectd_using_subcommand image" -l enhance -d 'Contrast enhancement before the search, for dark or infra-red pictures: off, equalize or clahe' -r
complete -c affectd -n "__fish_affectd_using_subcommand image" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand image" -l no-verify -d 'Accept every box of the cascade as a face, also those that the face net rejects'
complete -c affectd -n "__fish_affectd_using_subcommand image" -l mirror -d 'Exchange left and right, after the rotation'
complete -c affectd -n "__fish_affectd_using_subcommand image" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand detect" -l rotation -d 'Rotate clockwise by 0, 90, 180 or 270 degrees' -r
complete -c affectd -n "__fish_affectd_using_subcommand detect" -l cascade -d 'Cascade in OpenCV\'s XML format: a path, or the name of a shipped one' -r
complete -c affectd -n "__fish_affectd_using_subcommand detect" -l scale-factor -d 'Factor between two face sizes of the search, 1.01 to 10. A smaller factor finds more faces and takes longer' -r
complete -c affectd -n "__fish_affectd_using_subcommand detect" -l min-neighbors -d 'How many windows must agree on a face. A larger number gives fewer false faces; 0 shows every window' -r
complete -c affectd -n "__fish_affectd_using_subcommand detect" -l min-size -d 'Smallest face in pixels, as 30 or 30x40 [default: the cascade\'s window]' -r
complete -c affectd -n "__fish_affectd_using_subcommand detect" -l max-size -d 'Largest face in pixels, as 300 or 300x400 [default: the picture]' -r
complete -c affectd -n "__fish_affectd_using_subcommand detect" -l enhance -d 'Contrast enhancement before the search, for dark or infra-red pictures: off, equalize or clahe' -r
complete -c affectd -n "__fish_affectd_using_subcommand detect" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand detect" -l mirror -d 'Exchange left and right, after the rotation'
complete -c affectd -n "__fish_affectd_using_subcommand detect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l model -d 'Classifier: a path, or the name of a shipped one' -r
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l crop -d 'How the face is cut out of each picture: none uses the whole picture, haar uses the largest face that the detector finds. A picture without a detected face counts as a wrong answer' -r -f -a "none\t''
haar\t''"
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l usage -d 'Use only the rows with this usage, such as PublicTest (fer2013.csv and mosaic)' -r
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l labels -d 'Which labels count as the truth (mosaic)' -r -f -a "fer2013\t'FER2013\'s own'
ferplus\t'The majority of FER+\'s ten taggers: the winner among the seven expressions, contempt left out, where it has more than half of all votes. Images without such a winner are left out'"
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l folder -d 'The class of a folder with another name, or skip to leave the folder out; can be repeated' -r
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l subjects -d 'Also report how accuracy differs between people. The file names of this data set name the person (class folders)' -r -f -a "ckplus\t'CK+ (Lucey et al. 2010): `S010_004_00000017.png`, subject `S010`'
jaffe\t'JAFFE (Lyons et al. 1998): `KA.AN1.39.png`, subject `KA`'
kdef\t'KDEF (Lundqvist et al. 1998): `AF01ANS.JPG`, subject `F01` in both sessions'"
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l folds -d 'The number of folds to divide the people into' -r
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l json -d 'Also write the figures to this file as JSON' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l predictions -d 'Also write the answer for each picture to this file as CSV' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l rotation -d 'Rotate clockwise by 0, 90, 180 or 270 degrees' -r
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l cascade -d 'Cascade in OpenCV\'s XML format: a path, or the name of a shipped one' -r
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l scale-factor -d 'Factor between two face sizes of the search, 1.01 to 10. A smaller factor finds more faces and takes longer' -r
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l min-neighbors -d 'How many windows must agree on a face. A larger number gives fewer false faces; 0 shows every window' -r
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l min-size -d 'Smallest face in pixels, as 30 or 30x40 [default: the cascade\'s window]' -r
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l max-size -d 'Largest face in pixels, as 300 or 300x400 [default: the picture]' -r
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l enhance -d 'Contrast enhancement before the search, for dark or infra-red pictures: off, equalize or clahe' -r
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l without-copies -d 'Leave out copies and near copies of training images, and images that exist only as a lossy JPEG (mosaic)'
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l no-verify -d 'Accept every box of the cascade as a face, also those that the face net rejects'
complete -c affectd -n "__fish_affectd_using_subcommand eval" -l mirror -d 'Exchange left and right, after the rotation'
complete -c affectd -n "__fish_affectd_using_subcommand eval" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand fatigue" -l plot -d 'Also draw openness, closures, PERCLOS and states to this PNG file' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand fatigue" -l open -d 'The value that open eyes usually have in the file [default: 1]' -r
complete -c affectd -n "__fish_affectd_using_subcommand fatigue" -l shut -d 'The value that shut eyes usually have in the file [default: 0.05 times the open one]' -r
complete -c affectd -n "__fish_affectd_using_subcommand fatigue" -l drowsy -d 'PERCLOS over 60 s from which a person counts as drowsy' -r
complete -c affectd -n "__fish_affectd_using_subcommand fatigue" -l microsleep-ms -d 'Shortest microsleep, in milliseconds' -r
complete -c affectd -n "__fish_affectd_using_subcommand fatigue" -l asleep-ms -d 'Shortest sleep, in milliseconds' -r
complete -c affectd -n "__fish_affectd_using_subcommand fatigue" -l unresponsive-ms -d 'Eyes shut for this long mean that the person does not respond, in milliseconds' -r
complete -c affectd -n "__fish_affectd_using_subcommand fatigue" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand fatigue" -l json -d 'Print events as JSON Lines instead of the timeline'
complete -c affectd -n "__fish_affectd_using_subcommand fatigue" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand baseline; and not __fish_seen_subcommand_from record help" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand baseline; and not __fish_seen_subcommand_from record help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand baseline; and not __fish_seen_subcommand_from record help" -f -a "record" -d 'Record the person in front of the camera, and store the baseline in the [state] directory'
complete -c affectd -n "__fish_affectd_using_subcommand baseline; and not __fish_seen_subcommand_from record help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c affectd -n "__fish_affectd_using_subcommand baseline; and __fish_seen_subcommand_from record" -l board -d 'This board file alone, in place of the system\'s' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand baseline; and __fish_seen_subcommand_from record" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand baseline; and __fish_seen_subcommand_from record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand baseline; and __fish_seen_subcommand_from help" -f -a "record" -d 'Record the person in front of the camera, and store the baseline in the [state] directory'
complete -c affectd -n "__fish_affectd_using_subcommand baseline; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c affectd -n "__fish_affectd_using_subcommand devices" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand devices" -s h -l help -d 'Print help'
complete -c affectd -n "__fish_affectd_using_subcommand check" -l root -d 'Look for the system\'s board files below this directory, such as a mounted image' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand check" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand check" -l effective -d 'Print the settings that all board files together give, with the file and the line of each key'
complete -c affectd -n "__fish_affectd_using_subcommand check" -l hardware -d 'Also open the camera, GPIO lines, displays, event outputs, sensors'
complete -c affectd -n "__fish_affectd_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand safe" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand safe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand status" -l board -d 'The daemon\'s board file, in place of the system\'s' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand status" -l socket -d 'The control socket, instead of the board file\'s' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand status" -l wait -d 'Wait for up to this many seconds until the daemon is well or paused' -r
complete -c affectd -n "__fish_affectd_using_subcommand status" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand status" -l json -d 'Print the answer as one JSON object'
complete -c affectd -n "__fish_affectd_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand pause" -l board -d 'The daemon\'s board file, in place of the system\'s' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand pause" -l socket -d 'The control socket, instead of the board file\'s' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand pause" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand resume" -l board -d 'The daemon\'s board file, in place of the system\'s' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand resume" -l socket -d 'The control socket, instead of the board file\'s' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand resume" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand test-outputs" -l board -d 'This board file alone, in place of the system\'s' -r -F
complete -c affectd -n "__fish_affectd_using_subcommand test-outputs" -l inputs -d 'How many seconds the inputs are shown; 0 for not at all' -r
complete -c affectd -n "__fish_affectd_using_subcommand test-outputs" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand test-outputs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand model" -l runs -d 'How many runs to measure' -r
complete -c affectd -n "__fish_affectd_using_subcommand model" -l log -d 'Log level: error, warn, info, debug, trace or off' -r
complete -c affectd -n "__fish_affectd_using_subcommand model" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "run" -d 'Run the daemon: frames in, GPIO lines, displays and events out'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "image" -d 'Find faces in pictures, classify each, and print one JSON line per file'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "detect" -d 'Find faces in pictures and print one JSON line per file'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "eval" -d 'Measure the classifier on pictures whose expression is known'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "fatigue" -d 'Apply the fatigue rules to a recording of eye measurements'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "baseline" -d 'Record how a person looks at rest'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "devices" -d 'List cameras, GPIO chips, buses and framebuffers by the names that a board file uses'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "check" -d 'Report everything that is wrong with a board file'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "safe" -d 'Set a board\'s GPIO lines to their safe level and exit'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "status" -d 'Report the state of the running daemon'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "pause" -d 'Close the camera of the running daemon until `affectd resume`'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "resume" -d 'End a pause that `affectd pause` began'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "test-outputs" -d 'Test the wiring: each GPIO line on for half a second, the inputs, the displays'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "model" -d 'Show how a model runs on this machine'
complete -c affectd -n "__fish_affectd_using_subcommand help; and not __fish_seen_subcommand_from run image detect eval fatigue baseline devices check safe status pause resume test-outputs model help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c affectd -n "__fish_affectd_using_subcommand help; and __fish_seen_subcommand_from baseline" -f -a "record" -d 'Record the person in front of the camera, and store the baseline in the [state] directory'
