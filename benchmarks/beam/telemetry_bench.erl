%% Times calls of the BEAM's telemetry, as bench_bus.py asks for them: a line "execute 5 100000" on standard input is
%% answered by the nanoseconds of one call with five handlers, the mean over 100000. The loop and the making of the
%% arguments are included, as they are in Python's figures.
-module(telemetry_bench).
-export([main/0, handle/4]).

-define(EVENT, [tinker, http, request, stop]).
-define(PREFIX, [my, work]).

main() ->
    {ok, _} = application:ensure_all_started(telemetry),
    serve().

serve() ->
    case io:get_line("") of
        eof -> erlang:halt(0);
        Line ->
            [What, Handlers, Number] = string:lexemes(string:trim(Line), " "),
            io:format("~p~n", [measure(What, list_to_integer(Handlers), list_to_integer(Number))]),
            serve()
    end.

handle(_Event, _Measurements, _Metadata, _Config) -> ok.

measure(What, Handlers, Number) ->
    Ids = [attach(What, Id) || Id <- lists:seq(1, Handlers)],
    Self = self(),
    spawn_opt(fun() -> Self ! {took, timed(What, Number)} end, [{min_heap_size, 100000}]),
    Took = receive {took, T} -> T end,
    [telemetry:detach(Id) || Id <- Ids],
    Took / Number.

attach("execute", Id) -> ok = telemetry:attach(Id, ?EVENT, fun ?MODULE:handle/4, nil), Id;
attach("span", Id) ->
    ok = telemetry:attach_many(Id, [?PREFIX ++ [E] || E <- [start, stop, exception]], fun ?MODULE:handle/4, nil), Id.

timed(What, Number) ->
    loop(What, Number div 10),
    Began = erlang:monotonic_time(nanosecond),
    loop(What, Number),
    erlang:monotonic_time(nanosecond) - Began.

loop("execute", Number) -> execute(Number);
loop("span", Number) -> span(Number).

execute(0) -> ok;
execute(N) ->
    telemetry:execute(?EVENT, #{duration => N}, #{path => <<"/api/v1/asample">>, status => success}),
    execute(N - 1).

span(0) -> ok;
span(N) ->
    Metadata = #{path => <<"/api/v1/asample">>, n => N},
    telemetry:span(?PREFIX, Metadata, fun() -> {ok, Metadata} end),
    span(N - 1).
